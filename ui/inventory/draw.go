package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/machine/software"
	"berth/ui/dialog"
	"berth/ui/draw"
	"berth/ui/form"
	"berth/ui/list"
	"berth/ui/text"
	"berth/ui/theme"
)

// sortItems puts "none" first and the rest in order of their names.
func sortItems(items []dialog.Item) {
	slices.SortStableFunc(items, func(a, b dialog.Item) int {
		if an, bn := a.Label == "none", b.Label == "none"; an != bn {
			return map[bool]int{true: -1, false: 1}[an]
		}
		return cmp.Compare(strings.ToLower(a.Label), strings.ToLower(b.Label))
	})
}

// Draw implements screen.Screen.
func (s *Inventory) Draw(p *draw.Page) {
	t := s.e.Theme
	if s.unknown != "" || len(s.sides) == 0 {
		p.Blank(1)
		form.Error(p, t, fmt.Sprintf("there is no instance %q", s.unknown), "esc goes back")
		return
	}
	read := 0
	for _, d := range s.sides {
		switch {
		case d.err != nil:
			e := api.AsError(d.err)
			form.Error(p, t, d.name+": "+e.Message, e.Hint)
		case d.asking && d.inv == nil:
			p.Line(theme.Ground).Space(3).Text(t.Dim, "Reading what is installed on "+d.name+t.Ellipsis)
		}
		if d.inv != nil {
			read++
		}
	}
	if read == 0 || p.Left() < 3 {
		return
	}
	foot := s.foot(p.Width()-4, p.Left())
	h := max(1, p.Left()-1-len(foot))
	w := list.Room(p.Width())
	name := 12
	for i := range s.rows {
		name = max(name, text.Width(plaintext.Clean(s.rows[i].Name))+1)
	}
	name = max(12, min(name, 40, w-2-len(s.sides)*(nameWidth+2)))
	note := 0
	if p.Width() >= 100 {
		note = min(36, p.Width()/4)
	}
	col := max(6, min(60, (w-2-name-note)/len(s.sides)))
	head := p.Line(theme.Ground)
	head.To(2 + name)
	for _, d := range s.sides {
		head.Cell(t.Bold, d.name, col-2, false).Space(2)
	}
	if s.Nothing(p, t) {
		return
	}
	if len(s.rows) == 0 {
		p.Line(theme.Ground).Space(3).Text(t.Dim, "Nothing drifts.")
	}
	s.DrawColumns(p, t, h, []list.Column{s.lines(p.Width(), name, col, note)})
	if len(foot) > 0 {
		p.Fill(len(foot))
		p.Line(theme.Ground).Space(1).Repeat(t.Rule, t.H, p.Width()-2)
		for _, f := range foot[1:] {
			p.Line(theme.Ground).Space(2).Text(f.style, f.text)
		}
	}
}

// lines draws the rows, each section below its heading.
func (s *Inventory) lines(w, name, col, note int) list.Column {
	out := list.Column{W: w}
	var pg draw.Page
	pg.Reset(s.e.Theme, list.Room(w), 1<<16)
	section := ""
	for i := range s.rows {
		if r := &s.rows[i]; r.Section != section {
			section = r.Section
			pg.Line(theme.Ground).Space(1).Text(s.e.Theme.Title, section)
			out.Rows = append(out.Rows, -1)
		}
		s.row(&pg, &s.rows[i], i == s.At, name, col, note)
		out.Rows = append(out.Rows, i)
	}
	out.Lines = pg.Drawn()
	return out
}

// nameWidth is the width of the longest name of an instance.
const nameWidth = 24

// row draws one row.
func (s *Inventory) row(p *draw.Page, r *software.Row, on bool, name, col, note int) {
	t := s.e.Theme
	back := theme.Ground
	if on {
		back = theme.Sel
	}
	l := p.Line(back)
	if on {
		l.Glyph(t.Accent, t.Cursor)
	}
	l.To(2).Cell(t.Text, r.Name, name-1, false).Space(1)
	said := ""
	for i, v := range r.Values {
		st, mark := t.Text, ""
		switch d := r.Drift[i]; {
		case d != nil:
			st, mark = t.Bad, "! "
			if v == "" {
				v = "missing"
			}
			said = cmp.Or(said, "! "+software.DriftText(d))
		case v == "":
			v, st = "-", t.Dim
		case r.Differs:
			st, mark = t.Busy, "~ "
		}
		l.Cell(st, mark+v, col-2, false).Space(2)
	}
	if note > 0 && said != "" {
		l.Text(t.Bad, said)
	}
}

type footLine struct {
	style theme.Style
	text  string
}

// foot is what stands below the list: what the row under the cursor has too little room for, and what could
// not be read. Its first line is a rule.
func (s *Inventory) foot(w, room int) []footLine {
	t := s.e.Theme
	out := []footLine{{}}
	add := func(st theme.Style, line string) {
		for _, l := range text.Wrap(plaintext.Clean(line), max(10, w)) {
			out = append(out, footLine{st, l})
		}
	}
	if i, ok := s.Row(); ok {
		r := &s.rows[i]
		for i, d := range r.Drift {
			switch {
			case d == nil:
			case d.Kind == "missing":
				add(t.Bad, fmt.Sprintf("%s: %s is missing; %s", s.sides[i].name, r.Name, software.DriftText(d)))
			default:
				add(t.Bad, fmt.Sprintf("%s: %s is %s; %s", s.sides[i].name, r.Name, cmp.Or(d.Found, "of an unknown version"),
					software.DriftText(d)))
			}
		}
		for i, v := range r.Values {
			if text.Width(v) > 20 {
				add(t.Text, s.sides[i].name+": "+v)
			}
		}
	}
	for _, d := range s.sides {
		if d.inv == nil {
			continue
		}
		for _, e := range d.inv.Errors {
			add(t.Busy, d.name+": "+e)
		}
	}
	if n := max(2, room/3); len(out) > n {
		out = out[:n]
	}
	if len(out) == 1 || room < 8 {
		return nil
	}
	return out
}

// Status implements screen.Stater.
func (s *Inventory) Status(l *draw.Line) {
	t := s.e.Theme
	if s.Line(l, t) {
		return
	}
	drift := 0
	read := false
	for _, d := range s.sides {
		if d.inv != nil {
			drift += len(d.inv.Drift)
			read = true
		}
	}
	switch {
	case !read:
	case drift > 0:
		l.Text(t.Bad, fmt.Sprintf("not as promised: %d", drift))
	case s.promised():
		l.Text(t.Good, "all promises are kept")
	default:
		l.Text(t.Dim, "no set-up profile promises anything here")
	}
	if s.only {
		l.Text(t.Accent, "  drift only")
	}
	if read {
		s.Said(l, t)
	}
}

func (s *Inventory) promised() bool {
	return slices.ContainsFunc(s.sides, func(d *side) bool { return len(d.profiles) > 0 })
}
