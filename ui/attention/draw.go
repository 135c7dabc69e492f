package attention

import (
	"fmt"

	"berth/backend/base/plaintext"
	"berth/ui/data"
	"berth/ui/draw"
	"berth/ui/text"
	"berth/ui/theme"
)

// Draw implements screen.Screen.
func (s *Attention) Draw(p *draw.Page) {
	t := s.e.Theme
	w := p.Width()
	if len(s.rows) == 0 {
		p.Blank(min(1, max(0, p.Height()-2)))
		l := p.Line(theme.Ground).Space(2)
		switch {
		case s.in.Value() != "":
			l.Text(t.Dim, "Nothing matches the filter. ").Text(t.Key, "esc").Text(t.Dim, " shows all.")
		case s.e.Store.FigErr != nil:
			l.Text(t.Warn, "The service tells no figures: ").Text(t.Dim, s.e.Store.FigErr.Error())
		case s.hidden > 0:
			l.Glyph(t.Good, t.Check).Space(1).Text(t.Text, fmt.Sprintf("Nothing new. %d acknowledged or muted: ",
				s.hidden)).Text(t.Key, "w").Text(t.Dim, " shows them.")
		default:
			l.Glyph(t.Good, t.Check).Space(1).Text(t.Text, "Nothing wants attention.")
		}
		return
	}
	// What to do about the finding under the cursor stands whole at the bottom.
	var whole []string
	f := s.rows[s.at]
	words := max(10, w-4)
	if p.Height() >= 8 {
		whole = append(whole, text.Wrap(plaintext.Clean(f.ref+", "+f.a.Subject+": "+f.a.Text), words)...)
		whole = whole[:min(len(whole), max(1, p.Height()/4))]
	}
	said := len(whole)
	if said > 0 && f.a.Advice != "" {
		whole = append(whole, text.Wrap(plaintext.Clean("What to do: "+f.a.Advice), words)...)
		whole = whole[:min(len(whole), p.Height()/2)]
	}
	room := p.Height() - 1
	if len(whole) > 0 {
		room -= len(whole) + 1
	}
	s.view = max(1, room)
	if s.at < s.top {
		s.top = s.at
	}
	if s.at >= s.top+s.view {
		s.top = s.at - s.view + 1
	}
	s.top = max(0, min(s.top, len(s.rows)-s.view))
	name, subject := 16, 10
	if w >= 110 {
		name, subject = 24, 18
	}
	if w < 60 {
		name, subject = 10, 8
	}
	p.Line(theme.Ground).Space(4).Cell(t.Dim, "SINCE", 6, false).Cell(t.Dim, "INSTANCE", name+2, false).Cell(t.Dim, "WHAT",
		subject+2, false).Text(t.Dim, "WHAT IS THE MATTER")
	now := s.e.Clock()
	for i := s.top; i < len(s.rows) && i < s.top+s.view; i++ {
		x := s.rows[i]
		back := theme.Ground
		if i == s.at {
			back = theme.Sel
		}
		l := p.Line(back)
		if i == s.at {
			l.Glyph(t.Accent, t.Cursor)
		}
		g, st := t.Severity(data.Rank(x.a.Severity))
		bold, plain := t.Bold, t.Text
		note := ""
		switch {
		case x.a.MutedUntil != nil && x.a.MutedUntil.After(now):
			note = "muted "
			s.e.ExpireAt(*x.a.MutedUntil)
		case x.a.Acknowledged:
			note = "acknowledged "
		}
		if note != "" {
			st, bold, plain = t.Dim, t.Dim, t.Dim
		}
		l.To(2).Glyph(st, g).To(4)
		l.Cell(t.Dim, s.e.Age(x.a.Since), 5, false).Space(1)
		l.Cell(bold, x.ref, name, false).Space(2).Cell(plain, x.a.Subject, subject, false).Space(2)
		l.Text(t.Dim, note).Text(plain, x.a.Text)
	}
	if len(whole) > 0 {
		p.Fill(len(whole) + 1)
		p.Line(theme.Ground).Space(1).Repeat(t.Rule, t.H, w-2)
		for i, x := range whole {
			st := t.Text
			if i >= said {
				st = t.Accent
			}
			p.Line(theme.Ground).Space(2).Text(st, x)
		}
	}
}

// Status implements screen.Stater.
func (s *Attention) Status(l *draw.Line) {
	t := s.e.Theme
	if s.typing {
		l.Text(t.Key, "/")
		s.in.Draw(l, t, min(30, l.Room()/2), true)
		return
	}
	n := [4]int{}
	for _, f := range s.rows {
		n[data.Rank(f.a.Severity)]++
	}
	say := func(rank int, word string) {
		if n[rank] > 0 {
			g, st := t.Severity(rank)
			l.Glyph(st, g).Text(t.Dim, fmt.Sprintf(" %d %s  ", n[rank], word))
		}
	}
	say(3, "critical")
	say(2, "warning")
	say(1, "to know")
	if s.hidden > 0 && !s.all {
		l.Text(t.Dim, fmt.Sprintf("%d acknowledged or muted", s.hidden))
	}
	if v := s.in.Value(); v != "" {
		l.Text(t.Accent, "  filter "+v)
	}
	if len(s.rows) > s.view {
		l.End(t.Dim, fmt.Sprintf("%d/%d", s.at+1, len(s.rows)))
	}
}
