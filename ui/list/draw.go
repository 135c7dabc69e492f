package list

import (
	"github.com/charmbracelet/x/ansi"

	"berth/ui/draw"
	"berth/ui/theme"
)

// edge is how many cells at the right end of a line are kept for the mark that there is more.
const edge = 2

// Width is how wide rows may be in h lines of a page: where not all of them fit, the mark has its place.
func (l *List) Width(p *draw.Page, h int) int {
	if l.of.Len() > max(1, h) {
		return max(0, p.Width()-edge)
	}
	return p.Width()
}

// more is the mark on line y of view, where lines are hidden above and below.
func more(t *theme.Theme, y, view int, above, below bool) string {
	switch {
	case below && y == view-1:
		return t.Down
	case above && y == 0:
		return t.Up
	}
	return ""
}

// More writes the mark at the end of line y of view, where lines are hidden above and below.
func More(ln *draw.Line, t *theme.Theme, y, view int, above, below bool) {
	if g := more(t, y, view, above, below); g != "" {
		ln.To(ln.Col()+ln.Room()-1).Glyph(t.Accent, g)
	}
}

// Draw writes the rows in sight, a line each, into at most h lines of the page: cursor, mark, and what row writes.
func (l *List) Draw(p *draw.Page, t *theme.Theme, h int, row func(ln *draw.Line, i int)) {
	n := l.fit(h)
	w := l.Width(p, h)
	y0, top := p.Len(), l.top
	l.Hit = func(_, y int) int {
		if y < y0 || y >= y0+l.View {
			return -1
		}
		return top + y - y0
	}
	for y := 0; y < l.View && top+y < n; y++ {
		i := top + y
		back := theme.Ground
		if i == l.At {
			back = theme.Sel
		}
		ln := p.Line(back)
		ln.Limit(w)
		if i == l.At {
			ln.Glyph(t.Accent, t.Cursor)
		}
		if len(l.Marks) > 0 && l.Marks[l.of.ID(i)] {
			ln.To(1).Glyph(t.Mark, t.Marked)
		}
		row(ln, i)
		ln.Limit(p.Width())
		More(ln, t, y, l.View, top > 0, top+l.View < n)
	}
}

// Column is a column of lines, drawn already, which each belong to a row, or to none: -1.
type Column struct {
	Lines []string
	Rows  []int
	X, W  int // its place on the page; its lines are at most Room wide
}

// Room is how wide the lines of a column of w cells may be.
func Room(w int) int { return max(0, w-edge) }

// DrawColumns writes columns side by side into at most h lines. Each scrolls by itself: so that all lines of the row
// under the cursor are in sight, with the heading above it, and that its beginning and its end can be reached.
func (l *List) DrawColumns(p *draw.Page, t *theme.Theme, h int, cols []Column) {
	l.View = max(1, h)
	l.clamp()
	for len(l.tops) < len(cols) {
		l.tops = append(l.tops, 0)
	}
	y0 := p.Len()
	tops := l.tops[:len(cols)]
	for c := range cols {
		tops[c] = l.show(&cols[c], tops[c])
	}
	drawColumns(p, t, h, cols, tops)
	l.Hit = func(px, py int) int {
		for c, x := range cols {
			if at := tops[c] + py - y0; px >= x.X && px < x.X+x.W && py >= y0 && py < y0+h && at < len(x.Lines) {
				return x.Rows[at]
			}
		}
		return -1
	}
}

// drawColumns writes the h lines of each column that begin with its top.
func drawColumns(p *draw.Page, t *theme.Theme, h int, cols []Column, tops []int) {
	for y := range h {
		s, w := "", 0
		for c, x := range cols {
			at := tops[c] + y
			if at >= len(x.Lines) {
				continue
			}
			g := more(t, y, h, tops[c] > 0, tops[c]+h < len(x.Lines))
			if x.Lines[at] == "" && g == "" {
				continue
			}
			s += blanks(x.X-w) + x.Lines[at]
			w = x.X + ansi.StringWidth(x.Lines[at])
			if g != "" {
				var ln draw.Line
				ln.Reset(t, 1, theme.Ground)
				s += blanks(x.X+x.W-1-w) + string(ln.Glyph(t.Accent, g).Bytes())
				w = x.X + x.W
			}
		}
		p.Add(s)
	}
}

// show returns the first line of a column in sight: so that the row under the cursor is, with its heading, and what
// stands before the first row, or behind the last one. Where not all of that fits, the way the cursor came decides.
func (l *List) show(c *Column, top int) int {
	n := len(c.Lines)
	own, end := -1, -1
	first, last := true, true // no row that the cursor can go to is before it, or after it
	for y, i := range c.Rows {
		switch {
		case i == l.At && !l.skip(i):
			if own < 0 {
				own = y
			}
			end = y + 1
		case i < 0 || l.skip(i):
		case own < 0:
			first = false
		default:
			last = false
		}
	}
	if own >= 0 {
		from := own
		for from > 0 && (c.Rows[from-1] < 0 || l.skip(c.Rows[from-1])) {
			from--
		}
		if first {
			from = 0
		}
		if last {
			end = n
		}
		if l.down {
			top = max(min(top, from), end-l.View)
			top = min(top, own)
		} else {
			top = min(max(top, end-l.View), from)
			if own >= top+l.View {
				top = own
			}
		}
	}
	return max(0, min(top, n-l.View))
}

func blanks(n int) string {
	const some = "                                                                                                    "
	return some[:max(0, min(n, len(some)))]
}
