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
	if s.Nothing(p, t) {
		return
	}
	if len(s.rows) == 0 {
		p.Blank(min(1, max(0, p.Height()-2)))
		l := p.Line(theme.Ground).Space(2)
		switch {
		case s.e.Store.FigErr != nil:
			l.Text(t.Warn, "The service tells no figures: ").Text(t.Dim, s.e.Store.FigErr.Error())
		case s.hidden > 0:
			l.Glyph(t.Good, t.Check).Space(1).Text(t.Text, fmt.Sprintf("Nothing new. %d acknowledged or muted: ",
				s.hidden)).Text(t.Key, ".").Text(t.Dim, " shows them.")
		default:
			l.Glyph(t.Good, t.Check).Space(1).Text(t.Text, "Nothing wants attention.")
		}
		return
	}
	// What to do about the finding under the cursor stands whole at the bottom.
	var whole []string
	f := s.rows[min(s.At, len(s.rows)-1)]
	words := max(10, w-4)
	if p.Height() >= 8 {
		whole = append(whole, text.Wrap(plaintext.Clean(f.of()+", "+f.a.Subject+": "+f.a.Text), words)...)
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
	h := max(1, room)
	name, subject := s.widths(s.Width(p, h))
	p.Line(theme.Ground).Space(4).Cell(t.Dim, "SINCE", 6, false).Cell(t.Dim, "INSTANCE", name+2, false).Cell(t.Dim, "WHAT",
		subject+2, false).Text(t.Dim, "WHAT IS THE MATTER")
	now := s.e.Clock()
	s.List.Draw(p, t, h, func(l *draw.Line, i int) {
		x := s.rows[i]
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
		l.Cell(bold, x.brief(), name, false).Space(2).Cell(plain, x.a.Subject, subject, false).Space(2)
		l.Text(t.Dim, note).Text(plain, x.a.Text)
	})
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

// widths are those of the instance's and the subject's column: as wide as what stands in them, as long as some words of
// what is the matter find room too; all of it stands at the bottom for the finding under the cursor.
func (s *Attention) widths(w int) (name, subject int) {
	name, subject = len("INSTANCE"), len("WHAT")
	for _, f := range s.rows {
		name = max(name, text.Width(plaintext.Clean(f.brief())))
		subject = max(subject, text.Width(plaintext.Clean(f.a.Subject)))
	}
	const before, words = 10, 16
	room := w - before - 4 - words
	name = min(name, max(8, room-len("WHAT")))
	return name, min(subject, max(4, room-name))
}

// Status implements screen.Stater.
func (s *Attention) Status(l *draw.Line) {
	t := s.e.Theme
	if s.Line(l, t) {
		return
	}
	n := [4]int{}
	for _, f := range s.rows {
		if data.Active(f.a, s.e.Now()) {
			n[data.Rank(f.a.Severity)]++
		}
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
	switch {
	case s.all:
		l.Text(t.Accent, fmt.Sprintf("%d acknowledged or muted, shown too", s.hidden))
	case s.hidden > 0:
		l.Text(t.Dim, fmt.Sprintf("%d acknowledged or muted", s.hidden))
	}
	s.Said(l, t)
}
