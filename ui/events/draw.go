package events

import (
	"berth/backend/base/plaintext"
	"berth/ui/draw"
	"berth/ui/form"
	"berth/ui/text"
	"berth/ui/theme"
)

// Draw implements screen.Screen.
func (s *Events) Draw(p *draw.Page) {
	t := s.e.Theme
	h := p.Height()
	// The event under the cursor is shown whole, at the bottom, where its line is too short for it.
	var whole []string
	w := p.Width()
	name := 0
	if s.instance == "" && w >= 70 {
		name = s.nameWidth(w)
	}
	x := 10 + 2
	if name > 0 {
		x += name + 2
	}
	if i, ok := s.Row(); ok && p.Height() >= 10 {
		e := s.rows[i]
		if msg := plaintext.Clean(e.Message); text.Width(msg) > w-x-1 {
			whole = text.Wrap(msg, w-4)
			whole = whole[:min(len(whole), p.Height()/3)]
			h -= len(whole) + 1
		}
	}
	switch {
	case s.err != nil:
		p.Blank(1)
		form.Error(p, t, s.err.Error(), "esc goes back")
	case !s.loaded:
		p.Blank(1)
		p.Line(theme.Ground).Space(3).Text(t.Dim, "Looking"+t.Ellipsis)
	case s.Nothing(p, t):
	case len(s.rows) == 0:
		p.Blank(1)
		p.Line(theme.Ground).Space(3).Text(t.Dim, "Nothing has happened yet.")
	}
	today := s.e.Clock().Local().Format("2006-01-02")
	s.List.Draw(p, t, h, func(l *draw.Line, i int) {
		e := s.rows[i]
		when := e.Time.Local()
		f := "15:04:05"
		if when.Format("2006-01-02") != today {
			f = "Jan 02 15h"
		}
		l.To(1).Cell(t.Dim, when.Format(f), 10, false)
		if name > 0 {
			l.To(12).Cell(t.Bold, e.Instance, name, false)
		}
		l.To(x)
		if g := t.LevelGlyph(e.Level); g != "" {
			l.Glyph(t.Level(e.Level), g).Space(1)
		}
		l.Text(t.Level(e.Level), e.Message)
		if e.Actor != "" && l.Room() > len(e.Actor)+6 {
			l.End(t.Dim, e.Actor+" ")
		}
	})
	if len(whole) > 0 {
		p.Fill(len(whole) + 1)
		p.Line(theme.Ground).Space(1).Repeat(t.Rule, t.H, w-2)
		for _, l := range whole {
			p.Line(theme.Ground).Space(2).Text(t.Text, l)
		}
	}
}

// nameWidth is the width of the instances' column: a name is shown whole.
func (s *Events) nameWidth(w int) int {
	n := 8
	for i := range s.rows {
		n = max(n, text.Width(plaintext.Clean(s.rows[i].Instance)))
	}
	return min(n, max(8, w/3))
}

// Status implements screen.Stater.
func (s *Events) Status(l *draw.Line) {
	t := s.e.Theme
	if s.Line(l, t) {
		return
	}
	if s.follow {
		l.Glyph(t.Good, t.Running).Space(1).Text(t.Dim, "following")
	} else {
		l.Glyph(t.Dim, t.Stopped).Space(1).Text(t.Dim, "stays here; G follows")
	}
	if s.onlyBad {
		l.Text(t.Accent, "  warnings only")
	}
	if s.instance != "" && len(s.all) > 0 && s.e.Store.ByName(s.instance) == nil {
		l.Text(t.Warn, "  "+s.instance+" is gone; this is what is kept of it")
	}
	s.Said(l, t)
}
