package ports

import (
	"fmt"
	"strconv"
	"strings"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/transport/forward"
	"berth/ui/draw"
	"berth/ui/form"
	"berth/ui/text"
	"berth/ui/theme"
)

// grow makes a column as wide as what stands in it.
func grow(n *int, words string) { *n = max(*n, text.Width(plaintext.Clean(words))) }

// widths are those of the columns whose width depends on what stands in them; 0: the column is not shown.
type widths struct{ what, at, here, pid, user, owner int }

// Draw implements screen.Screen.
func (s *Ports) Draw(p *draw.Page) {
	t := s.e.Theme
	if len(s.rows) == 0 {
		s.View, s.Hit = 0, nil
		if !s.Nothing(p, t) {
			s.empty(p)
		}
		return
	}
	heres := map[forward.Target]forward.Here{}
	if s.e.Forwards != nil {
		for _, h := range s.e.Forwards.Of(s.id) {
			heres[h.Target] = h
		}
	}
	foot := s.foot(p, heres)
	w := s.widths(p.Width(), heres)
	l := p.Line(theme.Ground).Space(4).Cell(t.Dim, "PORT", w.what, false).Space(2)
	head := func(width int, title string, right bool) {
		if width > 0 {
			l.Cell(t.Dim, title, width, right).Space(2)
		}
	}
	head(w.here, "HERE", false)
	head(w.at, "FROM", false)
	head(w.pid, "PID", true)
	head(w.user, "USER", false)
	head(w.owner, "OWNER", false)
	l.Text(t.Dim, "COMMAND")
	s.List.Draw(p, t, max(1, p.Left()-len(foot)), func(l *draw.Line, i int) {
		r := &s.rows[i]
		h, ok := heres[r.target()]
		s.line(l, r, h, ok, w)
	})
	if len(foot) > 0 {
		p.Fill(len(foot))
		p.Line(theme.Ground).Space(1).Repeat(t.Rule, t.H, p.Width()-2)
		for _, x := range foot[1:] {
			p.Line(theme.Ground).Space(2).Text(x.style, x.text)
		}
	}
}

// line draws one row. What comes from the instance is cleaned by the line.
func (s *Ports) line(l *draw.Line, r *row, h forward.Here, on bool, w widths) {
	t := s.e.Theme
	cell := func(st theme.Style, width int, words string, right bool) {
		if width > 0 {
			l.Cell(st, words, width, right).Space(2)
		}
	}
	l.To(2)
	if on {
		l.Glyph(t.Good, t.Arrow)
	}
	l.To(4)
	if r.Socket != "" {
		cell(t.Dim, w.what, "socket", false)
	} else {
		cell(t.Bold, w.what, r.what(), false)
	}
	here := ""
	if on {
		here = shortHere(h)
	}
	cell(t.Good, w.here, here, false)
	cell(t.Dim, w.at, r.at(), false)
	pid := ""
	if r.PID != 0 {
		pid = strconv.Itoa(r.PID)
	}
	cell(t.Text, w.pid, pid, true)
	cell(t.Text, w.user, r.User, false)
	cell(t.Accent, w.owner, r.owner(), false)
	if r.Socket != "" {
		l.Text(t.Bold, r.Socket).Space(2)
	}
	switch {
	case r.PID == 0:
		l.Text(t.Dim, r.Note)
	case r.Note != "":
		l.Text(t.Odd, "("+r.Note+") ").Text(t.Text, r.Command)
	default:
		l.Text(t.Text, r.Command)
	}
}

// shortHere is where a forward listens, in a column.
func shortHere(h forward.Here) string {
	if h.SSH != "" {
		return "a socket"
	}
	return h.Address
}

func (s *Ports) widths(room int, heres map[forward.Target]forward.Here) widths {
	w := widths{what: 6}
	for _, h := range heres {
		grow(&w.here, shortHere(h))
	}
	roomy := room >= 96 || room >= 76 && w.here == 0
	if room >= 60 {
		w.pid, w.owner = 3, 5
	}
	if roomy {
		w.at, w.user = 4, 4
	}
	if room >= 60 {
		w.owner, w.pid = max(w.owner, s.widest.owner), max(w.pid, s.widest.pid)
	}
	if roomy {
		w.at, w.user = max(w.at, s.widest.at), max(w.user, s.widest.user)
	}
	w.at, w.user, w.owner = min(w.at, 15), min(w.user, 10), min(w.owner, 14)
	return w
}

type footLine struct {
	style theme.Style
	text  string
}

// foot is what stands under the list: what the row under the cursor has no room for, where it is forwarded to, and what
// is to be known of the list.
func (s *Ports) foot(p *draw.Page, heres map[forward.Target]forward.Here) []footLine {
	t := s.e.Theme
	if p.Height() < 12 {
		return nil
	}
	out := []footLine{{}}
	add := func(st theme.Style, most int, words string) {
		lines := text.Wrap(plaintext.Clean(words), max(10, p.Width()-4))
		for _, l := range lines[:min(len(lines), most)] {
			out = append(out, footLine{st, l})
		}
	}
	if i, ok := s.Row(); ok {
		r := &s.rows[i]
		what := r.what()
		if len(r.Addresses) > 0 && r.at() != "everywhere" {
			what += " at " + strings.Join(r.Addresses, ", ")
		}
		switch {
		case r.PID == 0:
			add(t.Dim, 1, what+": "+r.Note)
		case r.Processes > 1:
			add(t.Dim, 2, fmt.Sprintf("%s: process %d and %d more: %s", what, r.PID, r.Processes-1, r.Command))
		default:
			add(t.Dim, 2, fmt.Sprintf("%s: process %d: %s", what, r.PID, r.Command))
		}
		if h, ok := heres[r.target()]; ok {
			words := "Forwarded to " + h.Address
			if h.All > 0 {
				words += fmt.Sprintf("; %s, %d open now", counted(h.All), h.Open)
			}
			add(t.Good, 2, words)
			if h.Taken != "" {
				add(t.Dim, 2, "Not the same port: "+h.Taken)
			}
			if h.SSH != "" {
				add(t.Text, 3, "On the computer that you sit at: "+h.SSH)
			}
		}
	}
	for _, w := range s.warnings {
		add(t.Busy, 2, "Not all is listed: "+w)
	}
	if s.err != nil {
		add(t.Bad, 2, "The list may be old: "+api.AsError(s.err).Message)
	}
	if most := p.Height() / 2; len(out) > most {
		out = out[:most]
	}
	return out
}

func counted(n int) string {
	if n == 1 {
		return "1 connection"
	}
	return strconv.Itoa(n) + " connections"
}

// empty says why there is no row.
func (s *Ports) empty(p *draw.Page) {
	t := s.e.Theme
	p.Blank(1)
	say := func(st theme.Style, words string) {
		for _, l := range text.Wrap(plaintext.Clean(words), max(10, p.Width()-6)) {
			p.Line(theme.Ground).Space(3).Text(st, l)
		}
	}
	switch why := s.silent(); {
	case why != "":
		say(t.Text, why+".")
	case s.err != nil && api.AsError(s.err).Code == api.CodeVersion:
		e := api.AsError(forward.TooOld(s.name, s.err))
		form.Error(p, t, e.Message, e.Hint)
	case s.err != nil:
		e := api.AsError(s.err)
		form.Error(p, t, e.Message, e.Hint)
	case s.loaded:
		say(t.Text, "Nothing listens on "+s.name+".")
		for _, w := range s.warnings {
			say(t.Busy, "Not all is listed: "+w)
		}
	default:
		words := "Asking what listens on " + s.name + t.Ellipsis
		if a := s.e.Elapsed(s.asked); a != "" && a != "0s" {
			words += " " + a
		}
		say(t.Dim, words)
	}
}

// Status implements screen.Stater.
func (s *Ports) Status(l *draw.Line) {
	t := s.e.Theme
	if s.Line(l, t) {
		return
	}
	if s.loaded {
		l.Text(t.Dim, fmt.Sprintf("%d listen", len(s.all)))
	}
	if s.e.Forwards != nil {
		if n := len(s.e.Forwards.Of(s.id)); n > 0 {
			l.Text(t.Good, fmt.Sprintf("  %d forwarded", n))
		}
	}
	if s.loaded {
		s.Said(l, t)
	}
}
