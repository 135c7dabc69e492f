package detail

import (
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"berth/backend/base/plaintext"
	"berth/ui/draw"
	"berth/ui/text"
	"berth/ui/theme"
)

// span is where an entry was drawn.
type span struct{ x0, x1, y, entry int }

const (
	labelWidth = 10
	twoFrom    = 96 // columns from which the two sides stand beside each other
)

// Draw implements screen.Screen.
func (d *Detail) Draw(p *draw.Page) {
	d.entry = d.build()
	if d.at >= len(d.entry) || d.entry[d.at].copy == "" {
		d.at = min(d.at, max(0, len(d.entry)-1))
		if d.entry[d.at].copy == "" {
			d.move(1)
		}
	}
	d.view = p.Height()
	d.spans = d.spans[:0]
	t := d.e.Theme
	if p.Width() < twoFrom {
		lines := d.side(p.Width(), 0, -1, p.Height(), t)
		p.Add(lines...)
		return
	}
	lw := min((p.Width()-3)/2, 64)
	left := d.side(lw, 0, 0, p.Height(), t)
	right := d.side(min(p.Width()-lw-3, 90), lw+3, 1, p.Height(), t)
	for i := range p.Height() {
		var s string
		if i < len(left) {
			s = left[i]
		}
		if i < len(right) && right[i] != "" {
			s += pad(ansi.StringWidth(s), lw+3) + right[i]
		}
		p.Add(s)
	}
}

func pad(from, to int) string {
	const blanks = "                                                                                                    "
	return blanks[:max(0, min(to-from, len(blanks)))]
}

// side draws the entries of one side (-1: all, what happens first) in a column of w by h cells.
func (d *Detail) side(w, x, side, h int, t *theme.Theme) []string {
	var pg draw.Page
	type at struct{ entry, from, to int }
	var where []at
	pg.Reset(t, w, 1<<16)
	if h >= 16 && d.at >= 0 {
		pg.Blank(1)
	}
	one := func(i int) {
		x := d.entry[i]
		from := pg.Len()
		d.drawEntry(&pg, i, x)
		where = append(where, at{i, from, pg.Len()})
	}
	order := []int{side}
	switch side {
	case -1:
		order = []int{2, 1, 0} // the state, what happens, the figures
	case paneRest:
		order = []int{1, paneMore}
	}
	for _, s := range order {
		state := true
		for i, x := range d.entry {
			if side < 0 {
				if x.side == 0 && x.head {
					state = false
				}
				in := x.side
				if x.side == 0 && state {
					in = 2
				}
				if in != s {
					continue
				}
			} else if x.side != s {
				continue
			}
			one(i)
		}
	}
	all := pg.Len()
	k := max(side, 0)
	top := min(d.tops[k], max(0, all-h))
	for _, a := range where {
		if a.entry == d.at {
			if a.from < top {
				top = a.from
				if a.from <= 2 {
					top = 0
				}
			}
			if a.to > top+h {
				top = a.to - h
			}
		}
	}
	d.tops[k] = top
	for _, a := range where {
		for y := a.from; y < a.to; y++ {
			if y >= top && y < top+h && d.entry[a.entry].copy != "" {
				d.spans = append(d.spans, span{x, x + w, y - top, a.entry})
			}
		}
	}
	lines := pg.Drawn()
	out := make([]string, 0, h)
	for y := top; y < min(all, top+h); y++ {
		out = append(out, lines[y])
	}
	return out
}

func (d *Detail) drawEntry(p *draw.Page, i int, x entry) {
	t := d.e.Theme
	back := theme.Ground
	if i == d.at && x.copy != "" {
		back = theme.Sel
	}
	cursor := func(l *draw.Line) {
		if back == theme.Sel {
			l.Glyph(t.Accent, t.Cursor)
		} else {
			l.Space(1)
		}
	}
	switch {
	case x.head:
		if p.Len() > 1 {
			p.Blank(1)
		}
		l := p.Line(theme.Ground).Space(1).Text(t.Title, x.label)
		l.Space(1).Repeat(t.Rule, t.H, l.Room()-1)
	case x.wrap:
		gw := 0
		if x.glyph != "" {
			gw = text.Width(x.glyph) + 1
		}
		lines := text.Wrap(plaintext.Clean(x.value), p.Width()-2-gw)
		for n, s := range lines {
			l := p.Line(back)
			cursor(l)
			if n == 0 && x.glyph != "" {
				l.Glyph(x.gs, x.glyph)
			}
			l.To(1+gw).Text(x.st, s)
			if n == len(lines)-1 && x.tail != "" && l.Room() > len(x.tail)+2 {
				l.Space(2).Text(t.Dim, x.tail)
			}
		}
	default:
		l := p.Line(back)
		cursor(l)
		l.Text(t.Dim, x.label).To(labelWidth + 1)
		if x.glyph != "" {
			l.Glyph(x.gs, x.glyph).Space(1)
		}
		if text.Width(plaintext.Clean(x.value)) <= l.Room() || back != theme.Sel {
			l.Text(x.st, x.value)
			return
		}
		// The value under the cursor is shown whole.
		for n, s := range text.Wrap(plaintext.Clean(x.value), p.Width()-labelWidth-2) {
			if n > 0 {
				l = p.Line(back).Space(labelWidth + 1)
			}
			l.Text(x.st, s)
		}
	}
}

// Mouse implements screen.Mouser.
func (d *Detail) Mouse(m tea.MouseMsg) tea.Cmd {
	switch {
	case m.Button == tea.MouseButtonWheelDown:
		d.move(1)
	case m.Button == tea.MouseButtonWheelUp:
		d.move(-1)
	case m.Action == tea.MouseActionPress && m.Button == tea.MouseButtonLeft:
		for _, s := range d.spans {
			if m.Y == s.y && m.X >= s.x0 && m.X < s.x1 {
				d.at = s.entry
			}
		}
	}
	return nil
}
