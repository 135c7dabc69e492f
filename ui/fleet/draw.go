package fleet

import (
	"fmt"
	"time"

	"berth/ui/detail"
	"berth/ui/draw"
	"berth/ui/theme"
)

// Draw implements screen.Screen.
func (f *Fleet) Draw(p *draw.Page) {
	t := f.e.Theme
	if f.e.Store.Len() == 0 {
		f.drawEmpty(p)
		return
	}
	f.view = max(1, p.Height()-1)
	f.clamp()
	cols := f.layout(p.Width())
	if p.Height() > 1 {
		l := p.Line(theme.Ground)
		for _, c := range cols {
			l.To(c.x)
			st, s := t.Dim, c.title
			if c.column == f.sortCol {
				st = t.Key
				arrow := t.Up
				if f.sortDown {
					arrow = t.Down
				}
				if c.right {
					s = arrow + s
				} else {
					s += arrow
				}
			}
			l.Cell(st, s, c.w, c.right)
		}
	}
	for i := f.top; i < len(f.rows) && p.Left() > 0; i++ {
		r := f.rows[i]
		back := theme.Ground
		if i == f.at {
			back = theme.Sel
		}
		l := p.Line(back)
		if i == f.at {
			l.Glyph(t.Accent, t.Cursor)
		}
		if f.marks[r.ID] {
			l.To(1).Glyph(t.Mark, t.Marked)
		}
		f.mark(l, r)
		for _, c := range cols {
			l.To(c.x)
			c.cell(f, l, r, c.w)
		}
	}
	f.drawPane(p)
	if len(f.rows) == 0 && p.Left() > 1 {
		p.Blank(1)
		l := p.Line(theme.Ground).Space(lead)
		switch {
		case f.mine && f.filter.empty():
			l.Text(t.Dim, "None of these instances is yours. ").Text(t.Key, "m").Text(t.Dim, " shows all.")
		default:
			l.Text(t.Dim, "Nothing matches the filter. ").Text(t.Key, "esc").Text(t.Dim, " shows all.")
		}
	}
}

// paneHeight is how many lines the rows must leave for the pane to be worth while.
const paneHeight = 9

// settle is how long the cursor rests before the pane follows a key that is held: over a slow line the
// list goes first.
const settle = 150 * time.Millisecond

// drawPane shows the instance under the cursor in the room that the rows leave. It never takes any
// from them.
func (f *Fleet) drawPane(p *draw.Page) {
	r := f.Row()
	if r == nil || f.noPane || p.Width() < detail.PaneWidth || p.Left() < paneHeight {
		return
	}
	if old := f.e.Store.Row(f.paneID); old != nil && f.hurry && f.e.Clock().Before(f.movedAt.Add(settle)) {
		if old.ID != r.ID {
			f.e.ExpireAt(f.movedAt.Add(settle))
		}
		r = old
	}
	f.paneID = r.ID
	t := f.e.Theme
	p.Blank(1)
	l := p.Line(theme.Ground).Space(1).Text(t.Title, r.Name)
	l.Space(1).Repeat(t.Rule, t.H, l.Room()-1)
	f.pane.Pane(p, r.ID)
}

// Status implements screen.Stater.
func (f *Fleet) Status(l *draw.Line) {
	t := f.e.Theme
	if f.typing {
		l.Text(t.Key, "/")
		f.in.Draw(l, t, min(30, l.Room()/2), true)
		l.Space(2).Text(t.Dim, fmt.Sprintf("%d of %d", len(f.rows), f.e.Store.Len()))
		return
	}
	sep := ""
	say := func(st theme.Style, s string) {
		if sep != "" {
			l.Text(t.Border, " "+t.Dot+" ")
		}
		l.Text(st, s)
		sep = t.Dot
	}
	if n := len(f.marks); n > 0 {
		s := fmt.Sprintf("%d marked", n)
		if hidden := n - f.marked(); hidden > 0 { // actions go to those that are shown
			s += fmt.Sprintf(", %d of them hidden", hidden)
		}
		say(t.Mark, s)
	}
	if !f.filter.empty() {
		say(t.Accent, "filter "+f.in.Value())
	}
	if f.mine {
		say(t.Accent, "mine only")
	}
	if len(f.rows) < f.e.Store.Len() {
		say(t.Dim, fmt.Sprintf("%d of %d shown", len(f.rows), f.e.Store.Len()))
	}
	if f.e.Store.Len() > 0 && len(f.rows) > f.view {
		l.End(t.Dim, fmt.Sprintf("%d/%d", f.at+1, len(f.rows)))
	}
}
