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

// Pane draws an instance as a part of another screen: without a cursor, and as much as fits.
func (d *Detail) Pane(p *draw.Page, id string) {
	if d.id != id {
		d.id, d.last, d.past = id, nil, nil
	}
	d.pane = true
	d.refresh()
	half := min((p.Width()-3)/2, 64)
	cols := []column{{[]part{partState, partFigures, partMoney}, 0, half},
		{[]part{partEvents, partReach, partRecord}, half + 3, min(p.Width()-half-3, 90)}}
	if p.Width() >= paneThree {
		third := min((p.Width()-6)/3, 64)
		rest := 2 * (third + 3)
		cols = []column{{[]part{partState, partFigures, partMoney}, 0, third},
			{[]part{partReach, partRecord}, third + 3, third},
			{[]part{partEvents}, rest, min(p.Width()-rest, 90)}}
	}
	d.entry = inOrder(d.build(), cols)
	h := p.Left()
	drawn := d.drawn(cols, h >= 16)
	for y := range h {
		s := ""
		for _, c := range drawn {
			if y < len(c.Lines) && c.Lines[y] != "" {
				s += pad(ansi.StringWidth(s), c.X) + c.Lines[y]
			}
		}
		p.Add(s)
	}
}

func pad(from, to int) string {
	const blanks = "                                                                                                    "
	return blanks[:max(0, min(to-from, len(blanks)))]
}
