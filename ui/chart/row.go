package chart

import (
	"math"

	"berth/ui/draw"
	"berth/ui/theme"
)

// Rows is the number of rows that the graph takes.
func (g *Graph) Rows() int {
	if g.axis {
		return g.h + 2
	}
	return max(0, g.h)
}

// Row writes row i, from the top, at the line's place.
func (g *Graph) Row(l *draw.Line, i int) {
	if g.w <= 0 {
		return
	}
	t := g.t
	x := l.Col()
	switch {
	case i < g.h:
		s := ""
		switch {
		case i == 0:
			s = g.name(g.top)
		case i == g.h-1 && g.h > 1:
			s = g.name(g.Min)
		case i == g.h/2 && g.h >= 7:
			s = g.name(g.Min + (g.top-g.Min)/2)
		}
		l.Cell(t.Dim, s, g.label, true)
		edge := t.V
		if !t.ASCII && s != "" {
			edge = "┤"
		}
		l.Glyph(t.Border, edge)
		g.plot(l, i)
	case i == g.h:
		l.Space(g.label)
		corner, mark := "└", "┬"
		if t.ASCII {
			corner, mark = "+", "+"
		}
		l.Glyph(t.Border, corner)
		k := 0
		for c := range g.w {
			if k < len(g.ticks) && g.ticks[k].at == c {
				l.Glyph(t.Border, mark)
				k++
				continue
			}
			l.Glyph(t.Border, t.H)
		}
	default:
		for _, m := range g.ticks {
			l.To(x + g.label + 1 + m.at)
			l.Text(t.Dim, m.s)
		}
	}
}

// plot writes the cells of row i of the plot.
func (g *Graph) plot(l *draw.Line, i int) {
	t := g.t
	for c := range g.w {
		var s string
		area := false
		if t.ASCII {
			s, area = g.asciiCell(c, i)
		} else {
			s, area = g.dots(c, i)
		}
		st := t.Dim
		if area {
			st = t.Accent
			if g.Style != nil {
				st = g.Style(g.Read(c).Mean)
			}
		}
		if c == g.Cursor {
			if s == "" {
				l.Glyph(t.Bold, t.V)
				continue
			}
			st = t.Caret
		}
		if s == "" {
			l.Space(1)
			continue
		}
		l.Glyph(st, s)
	}
}

// height is how many of n dots a value fills, at least one.
func (g *Graph) height(v float64, n int) int {
	f := (v - g.Min) / (g.top - g.Min)
	return max(1, min(n, int(math.Round(f*float64(n)))))
}

// bits are the dots of a braille cell from the bottom up, of its left and right column.
var bits = [2][4]rune{{0x40, 0x04, 0x02, 0x01}, {0x80, 0x20, 0x10, 0x08}}

var braille = func() (out [256]string) {
	for i := range out {
		out[i] = string(rune(0x2800 + i))
	}
	return out
}()

// dots is a cell in braille; area says that a part of the mean's area is in it.
func (g *Graph) dots(cell, row int) (s string, area bool) {
	var r rune
	floor := 4 * (g.h - 1 - row) // the dots below this cell
	for k := range 2 {
		mean := g.mean[2*cell+k]
		if math.IsNaN(mean) {
			continue
		}
		n := g.height(mean, 4*g.h)
		for d := range 4 {
			if floor+d < n {
				r |= bits[k][d]
				area = true
			}
		}
		// The line of the maximum goes on from the column before.
		to := g.height(g.max[2*cell+k], 4*g.h) - 1
		from := to
		if c := 2*cell + k; c > 0 && !math.IsNaN(g.max[c-1]) {
			from = g.height(g.max[c-1], 4*g.h) - 1
			switch {
			case from < to:
				from++
			case from > to:
				from--
			}
		}
		for m := max(0, min(from, to)-floor); m <= min(3, max(from, to)-floor); m++ {
			r |= bits[k][m]
		}
	}
	if r == 0 {
		return "", false
	}
	return braille[r], area
}

// asciiCell is a cell without braille: # is the area, . and : its upper end, ' the maximum.
func (g *Graph) asciiCell(cell, row int) (s string, area bool) {
	r := g.Read(cell)
	if !r.OK {
		return "", false
	}
	floor := 4 * (g.h - 1 - row)
	n := g.height(r.Mean, 4*g.h) - floor
	switch {
	case n >= 4:
		return "#", true
	case n >= 2:
		return ":", true
	case n >= 1:
		return ".", true
	}
	if m := g.height(r.Max, 4*g.h) - 1 - floor; m >= 0 && m < 4 {
		return "'", false
	}
	return "", false
}

// Filling is the look of a disk that is full to so many percent, and altogether in so many seconds, if that is known:
// the same wherever it stands. calm is the look where nothing is the matter.
func Filling(t *theme.Theme, percent, fullIn *float64, calm theme.Style) theme.Style {
	const hour = 3600
	switch {
	case percent != nil && *percent >= 95 || fullIn != nil && *fullIn < 6*hour:
		return t.Bad
	case percent != nil && *percent >= 85 || fullIn != nil && *fullIn < 24*hour:
		return t.Busy
	}
	return calm
}

// Heat is a look for a percentage of which much is bad.
func Heat(t *theme.Theme, percent float64) theme.Style {
	switch {
	case percent >= 95:
		return t.Bad
	case percent >= 85:
		return t.Busy
	}
	return t.Good
}
