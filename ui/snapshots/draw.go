package snapshots

import (
	"fmt"
	"strings"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/ui/action"
	"berth/ui/draw"
	"berth/ui/form"
	"berth/ui/text"
	"berth/ui/theme"
)

// below is a paragraph under the list.
type below struct {
	glyph string
	gs    theme.Style
	st    theme.Style
	text  string
}

// Draw implements screen.Screen.
func (s *Snapshots) Draw(p *draw.Page) {
	t := s.e.Theme
	s.View, s.Hit = 0, nil
	r := s.row()
	say := func(st theme.Style, words string) {
		p.Blank(1)
		for _, l := range text.Wrap(plaintext.Clean(words), max(10, p.Width()-6)) {
			p.Line(theme.Ground).Space(3).Text(st, l)
		}
	}
	switch {
	case r == nil:
		say(t.Dim, s.name+" is gone, and its snapshots are not Berth's to show any more.")
		return
	case action.NoSnapshots(r) != "":
		say(t.Text, "No snapshots can be taken of "+s.name+": "+strings.TrimSuffix(action.NoSnapshots(r), ".")+".")
		return
	case s.loaded && len(s.rows) > 0:
		s.table(p)
		return
	case s.Nothing(p, t):
	case s.loaded:
		p.Blank(1)
		l := p.Line(theme.Ground).Space(3).Text(t.Text, "No snapshots yet")
		if s.why(action.Snapshot) == "" {
			l.Text(t.Text, "; ").Text(t.Key, "a").Text(t.Text, " takes one.")
		} else {
			l.Text(t.Text, ".")
		}
	case s.err != nil:
		p.Blank(1)
		e := api.AsError(s.err)
		form.Error(p, t, e.Message, e.Hint)
	default:
		p.Blank(1)
		l := p.Line(theme.Ground).Space(3).Text(t.Dim, "Asking for the snapshots of "+s.name+t.Ellipsis)
		if a := s.e.Elapsed(s.asked); a != "0s" {
			l.Text(t.Dim, " "+a)
		}
	}
	s.foot(p, s.notes(nil))
}

// table draws the list, and below it what is to be known.
func (s *Snapshots) table(p *draw.Page) {
	t := s.e.Theme
	w := p.Width()
	x := &s.rows[min(s.At, len(s.rows)-1)]
	nameW := 8
	for i := range s.rows {
		nameW = max(nameW, text.Width(plaintext.Clean(s.rows[i].Name)))
	}
	nameW = min(nameW, max(32, w/3))
	wide := w >= 64
	if !wide {
		nameW = min(nameW, max(8, w-18))
	}
	tail := 4 + nameW + 2 + 5 + 2
	if wide {
		tail += 16 + 2 + 10 + 2
	}
	var notes []below
	if d := s.tail(x, wide); text.Width(plaintext.Clean(d)) > w-tail || strings.ContainsAny(d, "\n\r") {
		notes = append(notes, below{t.Bullet, t.Dim, t.Text, d})
	}
	notes = s.notes(notes)
	// The list has at least half of the page.
	foot := min(s.height(notes, w), p.Height()/2)
	l := p.Line(theme.Ground).Space(4).Cell(t.Dim, "SNAPSHOT", nameW+2, false)
	if wide {
		l.Cell(t.Dim, "TAKEN", 18, false)
	}
	l.Cell(t.Dim, "AGO", 5, true).Space(2)
	if wide {
		l.Cell(t.Dim, "KEEPS", 12, false)
	}
	s.List.Draw(p, t, max(1, p.Left()-foot), func(l *draw.Line, i int) {
		x := &s.rows[i]
		bold, plain := t.Bold, t.Text
		l.To(2)
		switch {
		case s.dropping[x.Name]:
			bold, plain = t.Dim, t.Dim
			l.Glyph(t.Busy, t.Leaving)
		case x.Current:
			l.Glyph(t.Good, t.Arrow)
		}
		l.To(4).Cell(bold, x.Name, nameW, false).Space(2)
		taken := ""
		if !x.CreatedAt.IsZero() {
			taken = when(x.CreatedAt)
		}
		if wide {
			l.Cell(plain, taken, 16, false).Space(2)
		}
		l.Cell(t.Dim, s.e.Age(x.CreatedAt), 5, true).Space(2)
		if wide {
			l.Cell(plain, keeps(x), 10, false).Space(2)
		}
		l.Text(plain, s.tail(x, wide))
	})
	s.foot(p, notes)
}

// keeps says what a snapshot holds.
func keeps(x *api.Snapshot) string {
	if x.Memory {
		return "memory too"
	}
	return "disk"
}

// tail is what stands behind the columns.
func (s *Snapshots) tail(x *api.Snapshot, wide bool) string {
	var out []string
	if s.dropping[x.Name] {
		out = append(out, "being deleted")
	}
	if x.Current {
		out = append(out, "current")
	}
	if x.Memory && !wide {
		out = append(out, keeps(x))
	}
	if x.Description != "" {
		out = append(out, x.Description)
	}
	return strings.Join(out, ", ")
}

// notes adds what is under way, and what went wrong.
func (s *Snapshots) notes(out []below) []below {
	t := s.e.Theme
	if s.err != nil && s.loaded {
		e := api.AsError(s.err)
		out = append(out, below{t.Cross, t.Bad, t.Bad, "The list may be old: " + e.Message})
		if e.Hint != "" {
			out = append(out, below{t.Arrow, t.Accent, t.Text, e.Hint})
		}
	}
	op := s.e.Store.Op(s.id)
	if op == nil {
		return out
	}
	switch {
	case !op.State.Done():
		words := op.Kind + " under way for " + s.e.Elapsed(op.CreatedAt)
		for _, st := range op.Steps {
			if st.State == api.OpRunning {
				words += ": " + st.Title
				if st.Message != "" {
					words += ", " + st.Message
				}
			}
		}
		out = append(out, below{t.OpGlyph(op.State), t.Busy, t.Text, words})
	case op.Kind != "snapshot" && op.Kind != "restore":
	case op.Error != nil:
		out = append(out, below{t.Cross, t.Bad, t.Bad, "The last " + op.Kind + " failed: " + op.Error.Message})
		if op.Error.Hint != "" {
			out = append(out, below{t.Arrow, t.Accent, t.Text, op.Error.Hint})
		}
	default:
		for _, w := range op.Warnings {
			out = append(out, below{"!", t.Busy, t.Text, w})
		}
	}
	return out
}

// height is how many lines the paragraphs need, with the rule above them.
func (s *Snapshots) height(notes []below, w int) int {
	n := 0
	for _, b := range notes {
		n += len(lines(b.text, w))
	}
	if n > 0 {
		n++
	}
	return n
}

func lines(words string, w int) []string {
	var out []string
	for _, l := range plaintext.Lines(words) {
		out = append(out, text.Wrap(plaintext.Clean(l), max(10, w-6))...)
	}
	return out
}

// foot draws the paragraphs at the bottom of the page.
func (s *Snapshots) foot(p *draw.Page, notes []below) {
	t := s.e.Theme
	h := min(s.height(notes, p.Width()), p.Left())
	if h < 2 {
		return
	}
	p.Fill(h)
	p.Line(theme.Ground).Space(1).Repeat(t.Rule, t.H, p.Width()-2)
	for _, b := range notes {
		for i, x := range lines(b.text, p.Width()) {
			if p.Left() == 0 {
				return
			}
			l := p.Line(theme.Ground).Space(2)
			if i == 0 {
				l.Glyph(b.gs, b.glyph)
			}
			l.To(4).Text(b.st, x)
		}
	}
}

// Status implements screen.Stater.
func (s *Snapshots) Status(l *draw.Line) {
	t := s.e.Theme
	if s.row() == nil || !s.loaded || s.Line(l, t) {
		return
	}
	n := fmt.Sprintf("%d snapshots", len(s.all))
	if len(s.all) == 1 {
		n = "1 snapshot"
	}
	l.Text(t.Dim, n)
	if !s.asked.IsZero() {
		l.Text(t.Dim, ", looking again"+t.Ellipsis)
	}
	s.Said(l, t)
}
