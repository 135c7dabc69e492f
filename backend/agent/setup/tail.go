package setup

import (
	"bytes"
	"io"
	"os"
	"strings"
	"unicode"

	"berth/backend/agent/root"
	"berth/backend/base/atomicfile"
)

// tailSize is how much of a log a status carries, in bytes.
const tailSize = 4 << 10

// attemptTail is tail of what an attempt of a step has said. One that has not begun has said nothing.
func attemptTail(dir string, step, attempt int) (string, int64) {
	var who started
	if atomicfile.Read(stepFile(dir, step, attempt, "run"), &who) != nil {
		return "", 0
	}
	return tail(stepFile(dir, step, 0, "log"), who.Log)
}

// tail returns the last whole lines of a file from an offset on as plain text, at most tailSize bytes, and the
// file's size. A file that is shorter was shortened since, and counts from its beginning.
func tail(path string, begin int64) (string, int64) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", 0
	}
	if begin > fi.Size() {
		begin = 0
	}
	from := max(begin, fi.Size()-tailSize)
	b, _ := io.ReadAll(io.LimitReader(io.NewSectionReader(f, from, tailSize), tailSize))
	if from > begin {
		if _, rest, ok := bytes.Cut(b, []byte("\n")); ok {
			b = rest
		}
	}
	// A script that root ran knows itself by its handle: people know it by its file.
	b = bytes.ReplaceAll(b, []byte(root.ScriptPath+":"), []byte(strings.TrimSuffix(path, "log")+"sh:"))
	return plain(b), fi.Size()
}

// plain makes output text: no control sequences, of a line that was overwritten only what stands last.
func plain(b []byte) string {
	var out strings.Builder
	for line := range strings.SplitSeq(strings.ToValidUTF8(string(b), "?"), "\n") {
		line = strings.TrimRight(line, "\r")
		if i := strings.LastIndexByte(line, '\r'); i >= 0 {
			line = line[i+1:]
		}
		out.WriteString(strings.TrimRightFunc(strings.Map(func(r rune) rune {
			if r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
				return -1
			}
			return r
		}, withoutSequences(line)), unicode.IsSpace))
		out.WriteByte('\n')
	}
	s := strings.TrimSpace(out.String())
	if len(s) > tailSize { // replacing bytes may have made it longer
		s = strings.ToValidUTF8(s[len(s)-tailSize:], "")
	}
	return s
}

// withoutSequences removes terminal control sequences (ESC [ … and ESC ] …).
func withoutSequences(s string) string {
	if strings.IndexByte(s, 0x1b) < 0 {
		return s
	}
	var out strings.Builder
	for {
		i := strings.IndexByte(s, 0x1b)
		if i < 0 {
			out.WriteString(s)
			return out.String()
		}
		out.WriteString(s[:i])
		s = s[i+1:]
		if s == "" {
			continue
		}
		switch s[0] {
		case '[':
			if j := strings.IndexFunc(s[1:], func(r rune) bool { return r >= 0x40 && r <= 0x7e }); j >= 0 {
				s = s[j+2:]
			} else {
				s = ""
			}
		case ']', 'P', '_', '^':
			if j := strings.IndexAny(s, "\a\x1b"); j >= 0 {
				s = strings.TrimPrefix(s[j:], "\a")
				s = strings.TrimPrefix(s, "\x1b\\")
			} else {
				s = ""
			}
		default:
			s = s[1:]
		}
	}
}

// lastLine returns the last line of a log that says something, for a message on one line.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	l := []rune(strings.TrimSpace(lines[len(lines)-1]))
	if len(l) > 200 {
		l = append(l[:200], '…')
	}
	return string(l)
}
