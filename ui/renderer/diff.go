package renderer

import (
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// scroll finds out whether most of the screen has moved by one line, as lists and logs do, and lets
// the terminal move it: that is a few bytes instead of all lines.
func (p *Renderer) scroll(b []byte, lines []string) []byte {
	old := p.lines
	if len(old) != len(lines) || len(lines) < 8 {
		return b
	}
	for _, d := range []int{1, -1} {
		first, last, same := -1, -1, 0
		for i := range lines {
			if j := i + d; j >= 0 && j < len(old) && lines[i] == old[j] && lines[i] != old[i] {
				if first < 0 {
					first = i
				}
				last = i
				same++
			}
		}
		if same < len(lines)/2 || same < (last-first+1)*3/4 {
			continue
		}
		top, bottom := first, last+1 // the region that moves, with the line that goes
		if d < 0 {
			top, bottom = first-1, last
		}
		b = append(b, "\x1b["...)
		b = strconv.AppendInt(b, int64(top+1), 10)
		b = append(b, ';')
		b = strconv.AppendInt(b, int64(bottom+1), 10)
		b = append(b, 'r')
		if d > 0 {
			b = append(b, "\x1b[S"...)
			copy(old[top:bottom], old[top+1:bottom+1])
			old[bottom] = ""
		} else {
			b = append(b, "\x1b[T"...)
			copy(old[top+1:bottom+1], old[top:bottom])
			old[top] = ""
		}
		return append(b, "\x1b[r"...)
	}
	return b
}

// line writes what differs between a line and the one that is there.
func line(b []byte, at int, old, l string) []byte {
	from := head(old, l)
	col := ansi.StringWidth(l[:from])
	rest, was := l[from:], old[from:]
	wide, had := ansi.StringWidth(rest), ansi.StringWidth(was)
	if wide == had { // what is equal at the end stands at the same place
		if n := tail(was, rest); n > 0 {
			a, c := rest[:len(rest)-n], was[:len(was)-n]
			if ansi.StringWidth(a) == ansi.StringWidth(c) {
				rest = a
			}
		}
	}
	b = move(b, at, col)
	b = append(b, rest...)
	if wide < had {
		b = append(b, off+"\x1b[K"...)
	}
	return b
}

// head returns how many bytes two lines have in common at their beginning, up to a place where no
// style is in force.
func head(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	if strings.IndexByte(b[:n], 0x1b) < 0 { // plain so far: not within a character, nor before what joins it
		plain := func(s string, i int) bool { return i >= len(s) || s[i] < 0x80 }
		for n > 0 && !(b[n-1] < 0x80 && plain(a, n) && plain(b, n)) {
			n--
		}
		return n
	}
	if i := strings.LastIndex(b[:n], off); i >= 0 {
		return i + len(off)
	}
	return strings.IndexByte(b[:n], 0x1b)
}

// tail returns how many bytes two texts have in common at their end, beginning right after the end of
// a style.
func tail(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	s := b[len(b)-n:]
	i := strings.Index(s, off)
	if i < 0 {
		return 0
	}
	return len(s) - i - len(off)
}
