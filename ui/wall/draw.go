package wall

import (
	"cmp"
	"fmt"
	"math"

	"github.com/dustin/go-humanize/english"

	"berth/backend/base/plaintext"
	"berth/gpu"
	"berth/ui/chart"
	"berth/ui/draw"
	"berth/ui/list"
	"berth/ui/money"
	"berth/ui/text"
	"berth/ui/theme"
)

const (
	least = 38 // cells that a tile needs
	most  = 60 // beyond that it is harder to read
	// around is what a tile has beside its name: cursor, sign, a short bar, and the figures.
	around = 3 + 1 + 4 + figures + 1
	// figures are percent, memory, temperature.
	figures = 18
	head    = 1 // lines above the tiles
	// byWidth is what a wide tile has for who has the GPU, and leastBar how long its bar is then at least.
	byWidth, leastBar = 20, 8
)

// classWords name the classes, for the filter and the line above.
var classWords = [...]string{lost: "lost", critical: "critical", hot: "held back", wasted: "idle and paid for",
	warned: "warned", unknown: "not known", busy: "busy", idle: "idle", old: "not of now"}

// Draw implements screen.Screen.
func (s *Wall) Draw(p *draw.Page) {
	t := s.e.Theme
	if s.Nothing(p, t) {
		return
	}
	if len(s.tiles) == 0 {
		p.Blank(min(1, max(0, p.Height()-2)))
		l := p.Line(theme.Ground).Space(2)
		switch {
		case s.e.Store.FigErr != nil:
			l.Text(t.Warn, "The service tells no figures: ").Text(t.Dim, s.e.Store.FigErr.Error())
		default:
			l.Text(t.Dim, "No GPU has been measured yet.")
		}
		return
	}
	s.per = max(1, p.Height()-head)
	name := 0 // as wide as the names are, with the index
	for _, x := range s.tiles {
		name = max(name, text.Width(plaintext.Clean(x.name))+len(fmt.Sprint(x.index))+1)
	}
	need := max(least, name+around)
	s.cols = max(1, min(p.Width()/need, (len(s.tiles)+s.per-1)/s.per))
	s.name = min(name, max(8, p.Width()/s.cols-around))
	wide := max(most, need)
	if s.held {
		wide += byWidth
	}
	if p.Width()/s.cols > wide { // few GPUs need not be far apart
		s.wide = wide
	} else {
		s.wide = p.Width() / s.cols
	}
	columns := (len(s.tiles) + s.per - 1) / s.per
	s.At = max(0, min(s.At, len(s.tiles)-1))
	s.View = s.per * s.cols
	s.top = list.Scroll(s.top, s.At/s.per, s.cols, columns)
	s.Hit = func(x, y int) int {
		if y < head || y >= head+s.per || x/s.wide >= s.cols {
			return -1
		}
		return (s.top+x/s.wide)*s.per + y - head
	}
	s.counts(p.Line(theme.Ground), columns)
	for y := range min(s.per, len(s.tiles)) {
		l := p.Line(theme.Ground)
		for c := range s.cols {
			i := (s.top+c)*s.per + y
			if i >= len(s.tiles) {
				break
			}
			l.To(c * s.wide)
			s.tile(l, s.tiles[i], i == s.At, min((c+1)*s.wide, p.Width()))
		}
	}
}

// counts says how many there are of each class.
func (s *Wall) counts(l *draw.Line, columns int) {
	t := s.e.Theme
	var n [len(classWords)]int
	for _, x := range s.tiles {
		n[x.class]++
	}
	more := ""
	if s.top > 0 {
		more = t.Left + " more "
	}
	if s.top+s.cols < columns {
		more += "more " + t.Right + " "
	}
	w := l.Room()
	l.Limit(w - text.Width(more))
	l.Space(1).Text(t.Bold, english.Plural(len(s.tiles), "GPU", "")).Space(2)
	for c, word := range classWords {
		if n[c] == 0 {
			continue
		}
		g, st := s.sign(c)
		if l.Room() > len(word)+8 {
			l.Glyph(st, g).Text(t.Dim, fmt.Sprintf(" %d %s  ", n[c], word))
		}
	}
	l.Limit(w)
	l.End(t.Accent, more)
}

// sign is the glyph and the look of a class.
func (s *Wall) sign(class int) (string, theme.Style) {
	t := s.e.Theme
	switch class {
	case lost:
		return t.Cross, t.Bad
	case critical:
		return t.Critical, t.Bad
	case hot, warned:
		return t.Glyphs.Warning, t.Busy
	case wasted:
		return "$", t.Busy
	case unknown:
		return "?", t.Odd
	case busy:
		return t.Running, t.Good
	case idle:
		return t.Stopped, t.Dim
	}
	return t.Dash, t.Dim
}

// tile writes one GPU up to a column: a sign, its instance and index, a bar, and its figures.
func (s *Wall) tile(l *draw.Line, x tile, on bool, end int) {
	t := s.e.Theme
	r, f := s.e.Store.Row(x.id), s.e.Store.Figures(x.id)
	if r == nil || f == nil {
		l.To(end)
		return
	}
	i := s.place(x)
	if i >= len(f.GPUs) {
		l.To(end)
		return
	}
	g := &f.GPUs[i]
	if on {
		l.Back(theme.Sel)
		l.Glyph(t.Accent, t.Cursor)
	} else {
		l.Space(1)
	}
	sign, st := s.sign(x.class)
	plain, dim := t.Text, t.Dim
	if x.class == old {
		plain = t.Dim
	}
	l.Glyph(st, sign).Space(1)
	w := end - l.Col() - 1
	name := max(s.name, min(18, (w-figures)/2))
	bar := w - figures - name - 1
	by := holder(g)
	if bar-byWidth < leastBar {
		by = ""
	} else if s.held {
		bar -= byWidth
	}
	index := fmt.Sprintf(":%d", x.index)
	after := l.Col() + name
	n := min(text.Width(plaintext.Clean(x.name)), name-len(index))
	l.Cell(plain, x.name, n, false).Text(dim, index).To(after)
	l.Space(1)
	if g.Error != "" {
		l.Cell(t.Bad, g.Error, end-l.Col()-1, false)
	} else {
		bs := st
		if x.class == busy || x.class == hot {
			bs = t.Good
		}
		share := chart.Percent(g.Utilization)
		chart.Bar(l, t, bar, chart.Part{Share: share, Style: bs})
		l.Cell(plain, percent(share), 5, true)
		l.Cell(dim, memory(chart.Share(g.MemoryUsed, g.MemoryTotal), g.Unified), 6, true)
		hs := dim
		if x.class == hot {
			hs = t.Busy
		}
		l.Cell(hs, money.Figure(g.Temperature, money.Celsius), 7, true)
		if by != "" {
			l.Space(2).Cell(dim, by, byWidth-2, false)
		}
	}
	l.To(end - 1)
	l.Back(theme.Ground)
	l.To(end)
}

// holder is who has a GPU, in a few cells: a job, a kernel, a user.
func holder(g *gpu.GPUSummary) string { return cmp.Or(g.Held, g.User) }

func percent(share float64) string {
	if math.IsNaN(share) {
		return money.Unknown
	}
	return fmt.Sprintf("%.0f%%", 100*share)
}

// memory is written with "m"; with "u" where it is unified with the host's.
func memory(share float64, unified bool) string {
	switch {
	case math.IsNaN(share):
		return money.Unknown
	case unified:
		return fmt.Sprintf("u%.0f%%", 100*share)
	}
	return fmt.Sprintf("m%.0f%%", 100*share)
}

// Status implements screen.Stater: what can't be said in a tile.
func (s *Wall) Status(l *draw.Line) {
	t := s.e.Theme
	if s.Line(l, t) {
		return
	}
	if s.At < len(s.tiles) {
		x := s.tiles[s.At]
		f := s.e.Store.Figures(x.id)
		if i := s.place(x); f != nil && i < len(f.GPUs) {
			g := &f.GPUs[i]
			l.Text(t.Text, fmt.Sprintf("%s:%d %s", x.name, x.index, money.Short(g.Name)))
			if g.Unified {
				l.Text(t.Dim, "  unified memory")
			}
			if g.Power != nil {
				l.Text(t.Dim, "  "+money.Figure(g.Power, money.Watt))
			}
			switch {
			case g.Held != "" && g.User != "":
				l.Text(t.Text, "  "+g.Held).Text(t.Dim, " of "+g.User)
			case g.Held != "":
				l.Text(t.Text, "  "+g.Held)
			case g.User != "":
				l.Text(t.Dim, "  used by "+g.User)
			}
			if g.Next != "" {
				l.Text(t.Dim, "  next: "+g.Next)
			}
			if g.XID != 0 {
				l.Text(t.Bad, fmt.Sprintf("  XID %d", g.XID))
			}
			switch {
			case x.class == old:
				l.Text(t.Dim, "  figures of "+s.e.Age(f.Seen())+" ago: "+f.Why)
			case x.class == wasted && f.GPUIdleSince != nil:
				l.Text(t.Busy, "  idle for "+s.e.Age(*f.GPUIdleSince))
			}
		}
	}
	s.Said(l, t)
}
