package events

import (
	"fmt"

	"berth/backend/base/plaintext"
	"berth/ui/draw"
	"berth/ui/form"
	"berth/ui/text"
	"berth/ui/theme"
)

// Draw implements screen.Screen.
func (s *Events) Draw(p *draw.Page) {
	t := s.e.Theme
	s.view = p.Height()
	// The event under the cursor is shown whole, at the bottom, where its line is too short for it.
	var whole []string
	w := p.Width()
	name := 0
	if s.instance == "" && w >= 70 {
		name = 16
	}
	x := 10 + 2
	if name > 0 {
		x += name + 2
	}
	if len(s.rows) > 0 && s.at < len(s.rows) && p.Height() >= 10 {
		e := s.rows[s.at]
		if msg := plaintext.Clean(e.Message); text.Width(msg) > w-x-1 {
			whole = text.Wrap(msg, w-4)
			whole = whole[:min(len(whole), p.Height()/3)]
			s.view -= len(whole) + 1
		}
	}
	s.clamp()
	switch {
	case s.err != nil:
		p.Blank(1)
		form.Error(p, t, s.err.Error(), "esc goes back")
	case !s.loaded:
		p.Blank(1)
		p.Line(theme.Ground).Space(3).Text(t.Dim, "Looking"+t.Ellipsis)
	case len(s.rows) == 0:
		p.Blank(1)
		p.Line(theme.Ground).Space(3).Text(t.Dim, "Nothing has happened yet.")
	}
	today := s.e.Clock().Local().Format("2006-01-02")
	for i := s.top; i < len(s.rows) && i < s.top+s.view; i++ {
		e := s.rows[i]
		back := theme.Ground
		if i == s.at {
			back = theme.Sel
		}
		l := p.Line(back)
		if i == s.at {
			l.Glyph(t.Accent, t.Cursor)
		}
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
		switch e.Level {
		case "error":
			l.Glyph(t.Bad, t.Bad_).Space(1)
		case "warn":
			l.Text(t.Busy, "! ")
		}
		l.Text(t.Level(e.Level), e.Message)
		if e.Actor != "" && l.Room() > len(e.Actor)+6 {
			l.End(t.Dim, e.Actor+" ")
		}
	}
	if len(whole) > 0 {
		p.Fill(len(whole) + 1)
		p.Line(theme.Ground).Space(1).Repeat(t.Rule, t.H, w-2)
		for _, l := range whole {
			p.Line(theme.Ground).Space(2).Text(t.Text, l)
		}
	}
}

// Status implements screen.Stater.
func (s *Events) Status(l *draw.Line) {
	t := s.e.Theme
	if s.typing {
		l.Text(t.Key, "/")
		s.in.Draw(l, t, min(30, l.Room()/2), true)
		return
	}
	if s.follow {
		l.Glyph(t.Good, t.Running).Space(1).Text(t.Dim, "following")
	} else {
		l.Glyph(t.Dim, t.Stopped).Space(1).Text(t.Dim, "stays here; G follows")
	}
	if v := s.in.Value(); v != "" {
		l.Text(t.Accent, "  filter "+v)
	}
	if s.onlyBad {
		l.Text(t.Accent, "  warnings only")
	}
	l.End(t.Dim, fmt.Sprintf("%d/%d", min(s.at+1, len(s.rows)), len(s.rows)))
}
