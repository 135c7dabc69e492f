package fleet

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize/english"

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
	h := max(1, p.Height()-1)
	cols := f.layout(f.Width(p, h))
	if p.Height() > 1 {
		l := p.Line(theme.Ground)
		for _, c := range cols {
			l.To(c.x)
			st, s := t.Dim, c.title
			if c.column == f.sortCol {
				st = t.Key
				arrow := t.Up
				if f.Down {
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
	f.List.Draw(p, t, h, func(l *draw.Line, i int) {
		f.mark(l, f.rows[i])
		for _, c := range cols {
			l.To(c.x)
			c.cell(f, l, f.rows[i], c.w)
		}
	})
	if f.Nothing(p, t) {
		return
	}
	f.drawPane(p)
	if len(f.rows) == 0 && p.Left() > 1 {
		p.Blank(1)
		p.Line(theme.Ground).Space(lead).Text(t.Dim, "None of these instances is yours. ").Text(t.Key, "m").Text(t.Dim,
			" shows all.")
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
	f.noRoom = ""
	switch w, left := p.Width(), p.Left(); {
	case w < detail.PaneWidth:
		f.noRoom = fmt.Sprintf("the instance is shown below the list from %d columns on; these are %d", detail.PaneWidth, w)
	case left < paneHeight:
		f.noRoom = fmt.Sprintf("the list leaves %s for the instance below it, which needs %d",
			english.Plural(left, "line", ""), paneHeight)
	}
	r := f.Row()
	if r == nil || f.noPane || f.noRoom != "" {
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
	if f.Line(l, t) {
		return
	}
	if f.mine {
		l.Text(t.Accent, "mine only  ")
	}
	if len(f.rows) < f.e.Store.Len() {
		l.Text(t.Dim, fmt.Sprintf("%d of %d shown", len(f.rows), f.e.Store.Len()))
	}
	f.Said(l, t)
}
