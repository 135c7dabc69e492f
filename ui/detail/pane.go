package detail

import (
	"github.com/charmbracelet/x/ansi"

	"berth/ui/draw"
)

// PaneWidth is how many columns a pane needs; from paneThree on it has three columns of text.
const (
	PaneWidth = 96
	paneThree = 150
)

// The sides of a pane beyond those of the screen.
const (
	paneMore = 3 // how it is reached, and its record
	paneRest = 4 // what happens, and below it paneMore
)

// Pane draws an instance as a part of another screen: without a cursor, and as much as fits.
func (d *Detail) Pane(p *draw.Page, id string) {
	if d.id != id {
		d.id, d.last, d.past = id, nil, nil
	}
	d.refresh()
	d.entry = d.build()
	d.at, d.tops, d.spans = -1, [5]int{}, d.spans[:0]
	head := ""
	for i := range d.entry {
		x := &d.entry[i]
		if x.side != 0 {
			continue
		}
		if x.head {
			head = x.label
		}
		if head == headReach || head == headRecord {
			x.side = paneMore
		}
	}
	type column struct{ side, x, w int }
	half := min((p.Width()-3)/2, 64)
	cols := []column{{0, 0, half}, {paneRest, half + 3, min(p.Width()-half-3, 90)}}
	if p.Width() >= paneThree {
		third := min((p.Width()-6)/3, 64)
		rest := 2 * (third + 3)
		cols = []column{{0, 0, third}, {paneMore, third + 3, third}, {1, rest, min(p.Width()-rest, 90)}}
	}
	h := p.Left()
	drawn := make([][]string, len(cols))
	for i, c := range cols {
		drawn[i] = d.side(c.w, c.x, c.side, h, d.e.Theme)
	}
	for y := range h {
		s := ""
		for i, c := range cols {
			if y < len(drawn[i]) && drawn[i][y] != "" {
				s += pad(ansi.StringWidth(s), c.x) + drawn[i][y]
			}
		}
		p.Add(s)
	}
}
