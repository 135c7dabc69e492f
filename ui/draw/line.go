package draw

import (
	"berth/backend/base/plaintext"
	"berth/ui/text"
	"berth/ui/theme"
)

// Line is one line being written, at most Max cells wide.
type Line struct {
	t    *theme.Theme
	buf  []byte
	w    int
	max  int
	back theme.Back
	open string // the sequence that is in force
}

// Reset begins a new line of at most max cells on a background.
func (l *Line) Reset(t *theme.Theme, max int, back theme.Back) {
	l.t, l.buf, l.w, l.max, l.back, l.open = t, l.buf[:0], 0, max, back, ""
}

// Col is the number of cells written.
func (l *Line) Col() int { return l.w }

// Room is the number of cells left.
func (l *Line) Room() int { return max(0, l.max-l.w) }

func (l *Line) style(s theme.Style) {
	on := s.On(l.back)
	if on == l.open {
		return
	}
	if l.open != "" {
		l.buf = append(l.buf, theme.Off...)
	}
	l.buf = append(l.buf, on...)
	l.open = on
}

// Text writes s, cleaned, and cut where the line ends.
func (l *Line) Text(st theme.Style, s string) *Line {
	l.put(st, s, l.Room())
	return l
}

// put writes s in at most w cells and returns how many it took.
func (l *Line) put(st theme.Style, s string, w int) int {
	if w <= 0 || s == "" {
		return 0
	}
	l.style(st)
	if plaintext.Plain(s) {
		n := min(len(s), w)
		if n < len(s) {
			if e := l.t.Ellipsis; w > text.Width(e) {
				n = w - text.Width(e)
				l.buf = append(l.buf, s[:n]...)
				l.buf = append(l.buf, e...)
				l.w += w
				return w
			}
		}
		l.buf = append(l.buf, s[:n]...)
		l.w += n
		return n
	}
	s = plaintext.Clean(s)
	if l.t.ASCII {
		s = text.ASCII(s)
	}
	s = text.Truncate(s, w, l.t.Ellipsis)
	n := text.Width(s)
	l.buf = append(l.buf, s...)
	l.w += n
	return n
}

// Glyph writes one of the theme's own characters.
func (l *Line) Glyph(st theme.Style, g string) *Line {
	w := text.Width(g)
	if w > l.Room() {
		return l
	}
	l.style(st)
	l.buf = append(l.buf, g...)
	l.w += w
	return l
}

// Repeat writes a glyph n times.
func (l *Line) Repeat(st theme.Style, g string, n int) *Line {
	for range min(n, l.Room()) {
		l.Glyph(st, g)
	}
	return l
}

// Space writes n blank cells.
func (l *Line) Space(n int) *Line { return l.blank(l.t.Text, n) }

func (l *Line) blank(st theme.Style, n int) *Line {
	n = min(n, l.Room())
	if n <= 0 {
		return l
	}
	l.style(st)
	for range n {
		l.buf = append(l.buf, ' ')
	}
	l.w += n
	return l
}

// To fills with blanks up to a column.
func (l *Line) To(col int) *Line { return l.Space(col - l.w) }

// Cell writes s into exactly w cells, aligned to the right if right is set.
func (l *Line) Cell(st theme.Style, s string, w int, right bool) *Line {
	w = min(w, l.Room())
	if w <= 0 {
		return l
	}
	if right {
		if n := text.Width(plaintext.Clean(s)); n < w {
			l.Space(w - n)
			w = n
		}
	}
	n := l.put(st, s, w)
	return l.Space(w - n)
}

// Field writes s into w cells that all carry the style, as an input or a button has them.
func (l *Line) Field(st theme.Style, s string, w int) *Line {
	w = min(w, l.Room())
	n := l.put(st, s, w)
	return l.blank(st, w-n)
}

// End writes s at the right end of the line, if there is room for it and a gap.
func (l *Line) End(st theme.Style, s string) *Line {
	w := text.Width(plaintext.Clean(s))
	if w == 0 || w+1 > l.Room() {
		return l
	}
	l.To(l.max - w)
	return l.Text(st, s)
}

// Bytes ends the line and returns it, filled up where it stands on a background of its own. It is
// valid until the next Reset.
func (l *Line) Bytes() []byte {
	if l.back != theme.Ground {
		l.Space(l.Room())
	}
	if l.open != "" {
		l.buf = append(l.buf, theme.Off...)
		l.open = ""
	}
	return l.buf
}

// Back changes the background for what is written next.
func (l *Line) Back(b theme.Back) { l.back = b }

// Limit changes where the line ends.
func (l *Line) Limit(max int) { l.max = max }
