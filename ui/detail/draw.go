package detail

import (
	"berth/backend/base/plaintext"
	"berth/ui/draw"
	"berth/ui/list"
	"berth/ui/text"
	"berth/ui/theme"
)

const (
	labelWidth = 10
	twoFrom    = 96 // columns from which the two sides stand beside each other
)

// column is a column of the page: the parts that stand in it, below each other, and its place.
type column struct {
	parts []part
	x, w  int
}

// columns are those of a page of w cells: what happens stands beside the figures where there is room, else between
// the state and the other figures.
func columns(w int) []column {
	if w < twoFrom {
		return []column{{[]part{partState, partEvents, partFigures, partReach, partMoney, partRecord}, 0, w}}
	}
	left := min((w-3)/2, 64)
	return []column{{[]part{partState, partFigures, partReach, partMoney, partRecord}, 0, left},
		{[]part{partEvents}, left + 3, min(w-left-3, 90)}}
}

// Draw implements screen.Screen.
func (d *Detail) Draw(p *draw.Page) {
	cols := columns(p.Width())
	d.Keep(func() { d.entry = d.narrow(inOrder(d.build(), cols)) })
	if len(d.entry) == 0 {
		d.Nothing(p, d.e.Theme)
		return
	}
	d.DrawColumns(p, d.e.Theme, p.Height(), d.drawn(cols, p.Height() >= 16))
}

// inOrder puts entries in the order in which columns show them.
func inOrder(all []entry, cols []column) []entry {
	out := make([]entry, 0, len(all))
	for c, col := range cols {
		for _, x := range col.parts {
			for _, e := range all {
				if e.part == x {
					e.column = c
					out = append(out, e)
				}
			}
		}
	}
	return out
}

// narrow leaves what matches the filter, with its headings.
func (d *Detail) narrow(all []entry) []entry {
	match := list.Match(d.Words())
	if match == nil {
		return all
	}
	out := all[:0]
	var head *entry
	for _, e := range all {
		switch {
		case e.head:
			head = &e
		case match(e.label, e.label+" "+e.value):
			if head != nil {
				out, head = append(out, *head), nil
			}
			out = append(out, e)
		}
	}
	return out
}

// drawn draws the entries into their columns.
func (d *Detail) drawn(cols []column, air bool) []list.Column {
	t := d.e.Theme
	out := make([]list.Column, len(cols))
	for c, col := range cols {
		var pg draw.Page
		pg.Reset(t, list.Room(col.w), 1<<16)
		if air {
			pg.Blank(1)
		}
		rows := make([]int, pg.Len(), 64)
		for i := range rows {
			rows[i] = -1
		}
		for i, x := range d.entry {
			if x.column != c {
				continue
			}
			d.drawEntry(&pg, i, x)
			for len(rows) < pg.Len() {
				rows = append(rows, i)
			}
		}
		out[c] = list.Column{Lines: pg.Drawn(), Rows: rows, X: col.x, W: col.w}
	}
	return out
}

func (d *Detail) drawEntry(p *draw.Page, i int, x entry) {
	t := d.e.Theme
	back := theme.Ground
	if i == d.At && x.copy != "" && !d.pane {
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
			l.Text(x.st, x.value)
			return
		}
		for n, s := range text.Wrap(plaintext.Clean(x.value), p.Width()-labelWidth-2) {
			if n > 0 {
				l = p.Line(back).Space(labelWidth + 1)
			}
			l.Text(x.st, s)
		}
	}
}
