package job

import (
	"bytes"

	"berth/backend/base/plaintext"
	"berth/ui/money"
)

// What is kept of a log, and how long a line may be before it is taken as ended.
const (
	keepLines = 10_000
	dropLines = 1_000 // at once, when there are more
	maxLine   = 16 << 10
)

// tail is the last lines of a log.
type tail struct {
	lines   []string // harmless
	open    []byte   // the line that has no end yet
	dropped int      // lines that are not kept any more
	next    int64    // the offset behind what was added
	begun   bool
}

// add takes bytes of the log that begin at an offset.
func (t *tail) add(at int64, b []byte) {
	if gap := at - t.next; t.begun && gap > 0 {
		t.end()
		t.put("[ " + money.Bytes(gap) + " of the log are not here ]")
	}
	t.next, t.begun = at+int64(len(b)), true
	for len(b) > 0 {
		line, rest, ended := bytes.Cut(b, []byte{'\n'})
		t.open, b = append(t.open, line...), rest
		if ended {
			t.put(harmless(t.open))
			t.open = t.open[:0]
			continue
		}
		// What a carriage return took back is not kept; one at the end may belong to the line's end.
		if i := bytes.LastIndexByte(bytes.TrimRight(t.open, "\r"), '\r'); i >= 0 {
			t.open = append(t.open[:0], t.open[i+1:]...)
		}
	}
	if len(t.open) > maxLine {
		t.end()
	}
}

// end ends the open line, if there is one.
func (t *tail) end() {
	if len(t.open) > 0 {
		t.put(harmless(t.open))
		t.open = t.open[:0]
	}
}

func (t *tail) put(line string) {
	t.lines = append(t.lines, line)
	if len(t.lines) >= keepLines+dropLines {
		t.dropped += dropLines
		t.lines = append([]string(nil), t.lines[dropLines:]...)
	}
}

// last is the open line as it is shown, or "".
func (t *tail) last() string { return harmless(t.open) }

func harmless(b []byte) string {
	if l := plaintext.Lines(string(bytes.TrimRight(b, "\r"))); len(l) > 0 {
		return l[0]
	}
	return ""
}
