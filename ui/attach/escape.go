package attach

import (
	"fmt"
	"strings"
)

// escapes finds the detach keys among what is typed: "~." and "~?" at the beginning of a line, as in
// ssh, and a prefix key with a letter, which also works where a nested ssh takes the first.
type escapes struct {
	prefix, key byte // as ctrl-] and d
	name        string
	lineStart   bool // the last key ended a line
	tilde       bool // ~ was typed there and is held back
	pre         bool // the prefix was typed and is held back
}

type escAction int

const (
	escNone escAction = iota
	escLeave
	escHelp
)

// parseEscape reads a second detach key: "ctrl-] d". Empty is that one.
func parseEscape(s string) (*escapes, error) {
	if s == "" {
		s = "ctrl-] d"
	}
	e := &escapes{lineStart: true, name: s}
	f := strings.Fields(s)
	if len(f) == 2 && len(f[1]) == 1 && f[1][0] > ' ' && f[1][0] < 0x7f {
		if c, ok := strings.CutPrefix(strings.ToLower(f[0]), "ctrl-"); ok && len(c) == 1 {
			b := c[0]
			if b >= 'a' && b <= 'z' {
				b -= 'a' - 'A'
			}
			if b > '@' && b <= '_' {
				e.prefix, e.key = b-'@', f[1][0]
				return e, nil
			}
		}
	}
	return nil, fmt.Errorf("the detach key %q is not of the form \"ctrl-] d\"", s)
}

// filter returns what is to be passed on, and what was asked for. After escLeave the rest is dropped.
func (e *escapes) filter(b []byte) ([]byte, escAction) {
	act := escNone
	out := make([]byte, 0, len(b)+1)
	for _, c := range b {
		switch {
		case e.pre:
			e.pre = false
			switch c {
			case e.key:
				return out, escLeave
			case '?':
				act = escHelp
				continue
			case e.prefix: // twice: once for the other side
				out = append(out, c)
				continue
			}
			out = append(out, e.prefix)
		case e.tilde:
			e.tilde = false
			switch c {
			case '.':
				return out, escLeave
			case '?':
				act = escHelp
				e.lineStart = true
				continue
			case '~':
				out = append(out, '~')
				e.lineStart = false
				continue
			}
			out = append(out, '~')
			e.lineStart = false
		}
		switch {
		case c == e.prefix:
			e.pre = true
			continue
		case c == '~' && e.lineStart:
			e.tilde = true
			continue
		}
		e.lineStart = c == '\r' || c == '\n'
		out = append(out, c)
	}
	return out, act
}

func (e *escapes) help() string {
	return fmt.Sprintf("~?\r\n[berth: at the beginning of a line  ~.  leaves and lets the shell go on,  ~~  types a ~\r\n        anywhere  %s  leaves]\r\n", e.name)
}
