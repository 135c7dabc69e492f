package termquery

import (
	"bytes"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// Query asks the terminal for its background colour.
const Query = "\x1b]11;?\x1b\\"

// maxReply bounds an answer; something longer that begins like one is passed on as input.
const maxReply = 64

// waiting is for how long an answer that came in part is held back.
const waiting = 500 * time.Millisecond

var begin = []byte("\x1b]11;")

// Reader is an input whose Read leaves out answers. It keeps the file's descriptor visible, so that raw
// mode and cancelling work as with the file itself.
type Reader struct {
	*os.File
	// Dark is called, in the reader's goroutine, when the terminal has said whether it is dark.
	Dark func(dark bool)
	// Gone, if not nil, is called, in the reader's goroutine, when there is nothing to read any more: the terminal
	// was closed.
	Gone func()

	held  []byte // an answer of which the end has not come
	since time.Time
	rest  []byte // input that did not fit
}

// Read implements io.Reader. It may return 0 and no error where only an answer came.
func (t *Reader) Read(p []byte) (int, error) {
	if len(t.rest) > 0 {
		n := copy(p, t.rest)
		t.rest = t.rest[n:]
		return n, nil
	}
	n, err := t.File.Read(p)
	if n == 0 {
		if err != nil && t.Gone != nil {
			t.Gone()
		}
		return n, err
	}
	out := t.filter(p[:n], time.Now())
	k := copy(p, out)
	t.rest = append(t.rest, out[k:]...)
	return k, err
}

// filter takes answers out of what was read.
func (t *Reader) filter(b []byte, now time.Time) []byte {
	if len(t.held) == 0 && bytes.IndexByte(b, 0x1b) < 0 {
		return b
	}
	if len(t.held) > 0 {
		if now.Sub(t.since) > waiting { // it was no answer
			b = append(append([]byte(nil), t.held...), b...)
			t.held = nil
			return b
		}
		b = append(append([]byte(nil), t.held...), b...)
		t.held = nil
	}
	var out []byte
	for len(b) > 0 {
		i := bytes.Index(b, begin)
		if i < 0 {
			// The last bytes may be the beginning of an answer; a lone ESC is a key and is passed on.
			for n := min(len(begin)-1, len(b)); n >= 2; n-- {
				if bytes.HasSuffix(b, begin[:n]) {
					t.hold(b[len(b)-n:], now)
					return append(out, b[:len(b)-n]...)
				}
			}
			return append(out, b...)
		}
		out = append(out, b[:i]...)
		b = b[i:]
		end, after := terminator(b)
		switch {
		case end >= 0:
			if dark, ok := Parse(string(b[len(begin):end])); ok && t.Dark != nil {
				t.Dark(dark)
			}
			b = b[after:]
		case len(b) > maxReply:
			out = append(out, b[:len(begin)]...)
			b = b[len(begin):]
		default:
			t.hold(b, now)
			return out
		}
	}
	return out
}

func (t *Reader) hold(b []byte, now time.Time) {
	t.held = append([]byte(nil), b...)
	t.since = now
}

// terminator finds the end of an answer (BEL or ESC \) and what comes after it.
func terminator(b []byte) (end, after int) {
	for i := len(begin); i < len(b) && i < maxReply; i++ {
		switch {
		case b[i] == 7:
			return i, i + 1
		case b[i] == 0x1b && i+1 < len(b) && b[i+1] == '\\':
			return i, i + 2
		}
	}
	return -1, -1
}

// Parse reads a colour as terminals give it ("rgb:1c1c/1c1c/1c1c", "#1c1c1c") and tells whether it is dark.
func Parse(s string) (dark, ok bool) {
	var parts []string
	switch {
	case strings.HasPrefix(s, "rgb:"):
		parts = strings.Split(s[4:], "/")
	case strings.HasPrefix(s, "rgba:"):
		parts = strings.Split(s[5:], "/")
	case len(s) == 7 && s[0] == '#':
		parts = []string{s[1:3], s[3:5], s[5:7]}
	}
	if len(parts) < 3 {
		return false, false
	}
	var c [3]float64
	for i := range c {
		if len(parts[i]) < 1 || len(parts[i]) > 4 {
			return false, false
		}
		v, err := strconv.ParseUint(parts[i], 16, 16)
		if err != nil {
			return false, false
		}
		c[i] = float64(v) / (math.Pow(16, float64(len(parts[i]))) - 1)
	}
	return 0.299*c[0]+0.587*c[1]+0.114*c[2] < 0.5, true
}
