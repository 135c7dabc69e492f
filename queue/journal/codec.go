package journal

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"berth/queue"
)

// A job's spec and status are JSON, with the names of the model's tags: these are part of the file's format. Arguments
// and the like are any bytes, and JSON's strings are not: those bytes are escaped.

func encodeSpec(s *queue.Spec) ([]byte, error) {
	c := *s
	mapText(&c, escape)
	return json.Marshal(&c)
}

func decodeSpec(b []byte) (*queue.Spec, error) {
	var s queue.Spec
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, err
	}
	mapText(&s, unescape)
	return &s, nil
}

func encodeStatus(s *queue.Status) ([]byte, error) { return json.Marshal(s) }

func decodeStatus(b []byte, s *queue.Status) error { return json.Unmarshal(b, s) }

// mapText applies f to all fields of s that may be any bytes. What s points to is copied, not changed.
func mapText(s *queue.Spec, f func(string) string) {
	all := func(in []string) []string {
		if in == nil {
			return nil
		}
		out := make([]string, len(in))
		for i, x := range in {
			out[i] = f(x)
		}
		return out
	}
	s.Argv, s.Env = all(s.Argv), all(s.Env)
	s.Workdir, s.Conda, s.Venv = f(s.Workdir), f(s.Conda), f(s.Venv)
	if s.Sweep == nil {
		return
	}
	sweep := queue.Sweep{Axes: make([]queue.Axis, len(s.Sweep.Axes))}
	for i, a := range s.Sweep.Axes {
		sweep.Axes[i] = queue.Axis{Names: a.Names, Rows: make([][]string, len(a.Rows))}
		for k, row := range a.Rows {
			sweep.Axes[i].Rows[k] = all(row)
		}
	}
	s.Sweep = &sweep
}

// escapes is where the 256 code points begin, at the end of the last private plane, that stand for bytes which are no
// UTF-8. A text that has one of them is escaped byte by byte there, so that unescape gives back what escape was given.
const escapes = 0x10FE00

func isEscape(r rune) bool { return r >= escapes && r < escapes+256 }

func escape(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, isEscape) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 || isEscape(r) {
			for _, x := range []byte(s[:n]) {
				b.WriteRune(escapes + rune(x))
			}
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

func unescape(s string) string {
	if strings.IndexFunc(s, isEscape) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if isEscape(r) {
			b.WriteByte(byte(r - escapes))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
