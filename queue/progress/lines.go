package progress

import "strings"

// line is something that was printed up to a line's end, or up to where it was begun again.
type line struct {
	text string // without escape codes
	up   int    // how many lines the cursor went up after it: bars below others do so
}

// maxLine bounds a line, in bytes: no sign of progress stands behind that.
const maxLine = 512

// lines are those of a tail, oldest first. Of a tail that is not whole the first one is left out: its beginning is
// missing.
func lines(tail []byte, whole bool) (out []line) {
	var b strings.Builder
	up, first := 0, !whole
	end := func() {
		if text := strings.TrimRight(b.String(), " "); (text != "" || up > 0) && !first {
			out = append(out, line{text, up})
		}
		b.Reset()
		up, first = 0, false
	}
	for i := 0; i < len(tail); i++ {
		switch c := tail[i]; {
		case c == '\n' || c == '\r' || c == '\b':
			end()
		case c == 0x1b:
			n, times := escape(tail[i:])
			up += times
			i += n - 1
		case c == '\t':
			c = ' '
			fallthrough
		case c >= ' ' && c != 0x7f && b.Len() < maxLine:
			b.WriteByte(c)
		}
	}
	end()
	return out
}

// escape is how long the escape code is that b begins with, and how many lines up it moves the cursor.
func escape(b []byte) (n, up int) {
	if len(b) < 2 || b[1] != '[' {
		return 1, 0
	}
	times := 0
	for i, c := range b[2:] {
		switch {
		case c >= '0' && c <= '9':
			times = min(times*10+int(c-'0'), maxLine)
		case c == 'A':
			return i + 3, max(times, 1)
		case c >= 0x40 && c <= 0x7e:
			return i + 3, 0
		case c < 0x20 || c > 0x7e:
			return i + 2, 0 // it is none
		}
	}
	return len(b), 0
}
