package wall

import (
	"fmt"
	"math"

	"berth/backend/base/plaintext"
	"berth/ui/chart"
	"berth/ui/draw"
	"berth/ui/money"
	"berth/ui/text"
	"berth/ui/theme"
)

const (
	least = 38 // cells that a tile needs
	most  = 60 // beyond that it is harder to read
	head  = 1  // lines above the tiles
)

// classWords name the classes, for the filter and the line above.
var classWords = [...]string{lost: "lost", critical: "critical", hot: "held back", wasted: "idle and paid for",
	warned: "warned", unknown: "not known", busy: "busy", idle: "idle", old: "not of now"}

// width is the width of a tile, of the last frame.
func (s *Wall) width() int { return s.wide }

// Draw implements screen.Screen.
func (s *Wall) Draw(p *draw.Page) {
	t := s.e.Theme
	if len(s.tiles) == 0 {
		p.Blank(min(1, max(0, p.Height()-2)))
		l := p.Line(theme.Ground).Space(2)
		switch {
		case s.in.Value() != "":
			l.Text(t.Dim, "No GPU matches the filter. ").Text(t.Key, "esc").Text(t.Dim, " shows all.")
		case s.e.Store.FigErr != nil:
			l.Text(t.Warn, "The service tells no figures: ").Text(t.Dim, s.e.Store.FigErr.Error())
		default:
			l.Text(t.Dim, "No GPU has been measured yet.")
		}
		return
	}
	s.per = max(1, p.Height()-head)
	s.cols = max(1, min(p.Width()/least, (len(s.tiles)+s.per-1)/s.per))
	if p.Width()/s.cols > most { // few GPUs need not be far apart
		s.wide = most
	} else {
		s.wide = p.Width() / s.cols
	}
	columns := (len(s.tiles) + s.per - 1) / s.per
	at := s.at / s.per
	if at < s.top {
		s.top = at
	}
	if at >= s.top+s.cols {
		s.top = at - s.cols + 1
	}
	s.top = max(0, min(s.top, columns-s.cols))
	s.counts(p.Line(theme.Ground))
	for y := range min(s.per, len(s.tiles)) {
		l := p.Line(theme.Ground)
		for c := range s.cols {
			i := (s.top+c)*s.per + y
			if i >= len(s.tiles) {
				break
			}
			l.To(c * s.wide)
			s.tile(l, s.tiles[i], i == s.at, min((c+1)*s.wide, p.Width()))
		}
	}
}

// counts says how many there are of each class.
func (s *Wall) counts(l *draw.Line) {
	t := s.e.Theme
	var n [len(classWords)]int
	for _, x := range s.tiles {
		n[x.class]++
	}
	l.Space(1).Text(t.Bold, fmt.Sprintf("%d GPUs", len(s.tiles))).Space(2)
	for c, word := range classWords {
		if n[c] == 0 {
			continue
		}
		g, st := s.sign(c)
		if l.Room() > len(word)+8 {
			l.Glyph(st, g).Text(t.Dim, fmt.Sprintf(" %d %s  ", n[c], word))
		}
	}
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
	figures := 17 // percent, memory, temperature
	name := max(8, (w-figures)/2)
	bar := w - figures - name - 1
	index := fmt.Sprintf(":%d", x.index)
	after := l.Col() + name
	n := min(text.Width(plaintext.Clean(r.Name)), name-len(index))
	l.Cell(plain, r.Name, n, false).Text(dim, index).To(after)
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
		l.Cell(dim, memory(chart.Share(g.MemoryUsed, g.MemoryTotal)), 6, true)
		heat := money.Unknown
		if g.Temperature != nil {
			heat = fmt.Sprintf("%.0f°C", *g.Temperature)
		}
		hs := dim
		if x.class == hot {
			hs = t.Busy
		}
		l.Cell(hs, heat, 6, true)
	}
	l.To(end - 1)
	l.Back(theme.Ground)
	l.To(end)
}

func percent(share float64) string {
	if math.IsNaN(share) {
		return money.Unknown
	}
	return fmt.Sprintf("%.0f%%", 100*share)
}

func memory(share float64) string {
	if math.IsNaN(share) {
		return money.Unknown
	}
	return fmt.Sprintf("m%.0f%%", 100*share)
}

// Status implements screen.Stater: what can't be said in a tile.
func (s *Wall) Status(l *draw.Line) {
	t := s.e.Theme
	if s.typing {
		l.Text(t.Key, "/")
		s.in.Draw(l, t, min(30, l.Room()/2), true)
		return
	}
	if s.at < len(s.tiles) {
		x := s.tiles[s.at]
		f := s.e.Store.Figures(x.id)
		if i := s.place(x); f != nil && i < len(f.GPUs) {
			g := &f.GPUs[i]
			l.Text(t.Text, fmt.Sprintf("%s:%d %s", x.name, x.index, money.Short(g.Name)))
			if g.Power != nil {
				l.Text(t.Dim, fmt.Sprintf("  %.0f W", *g.Power))
			}
			if g.User != "" {
				l.Text(t.Dim, "  used by "+g.User)
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
	if v := s.in.Value(); v != "" {
		l.Text(t.Accent, "  filter "+v)
	}
	l.End(t.Dim, fmt.Sprintf("by %s %d/%d", orders[s.order], s.at+1, len(s.tiles)))
}
