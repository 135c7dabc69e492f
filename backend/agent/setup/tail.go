package setup

import (
	"bytes"
	"io"
	"os"
	"strings"
	"unicode"

	"berth/backend/agent/root"
	"berth/backend/base/atomicfile"
	"berth/backend/base/plaintext"
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
	lines := plaintext.Lines(strings.ToValidUTF8(string(b), "?"))
	for i := range lines {
		lines[i] = strings.TrimRightFunc(lines[i], unicode.IsSpace)
	}
	s := strings.TrimSpace(strings.Join(lines, "\n"))
	if len(s) > tailSize { // replacing bytes may have made it longer
		s = strings.ToValidUTF8(s[len(s)-tailSize:], "")
	}
	return s
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
