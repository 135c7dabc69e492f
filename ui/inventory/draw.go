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

// lineOf is a line of the list: a section's head, or a row.
type lineOf struct {
	section string
	row     int
}

func (s *Inventory) lines() (out []lineOf, at int) {
	section := ""
	for i, r := range s.rows {
		if r.Section != section {
			section = r.Section
			out = append(out, lineOf{section, -1})
		}
		if i == s.at {
			at = len(out)
		}
		out = append(out, lineOf{"", i})
	}
	return out, at
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
	s.view = max(1, p.Left()-1-len(foot))
	name := max(12, min(26, p.Width()/3))
	note := 0
	if p.Width() >= 100 {
		note = min(36, p.Width()/4)
	}
	col := max(6, min(60, (p.Width()-2-name-note)/len(s.sides)))
	head := p.Line(theme.Ground)
	head.To(2 + name)
	for _, d := range s.sides {
		head.Cell(t.Bold, d.name, col-2, false).Space(2)
	}
	lines, at := s.lines()
	if len(lines) == 0 {
		p.Line(theme.Ground).Space(3).Text(t.Dim, "Nothing matches.")
	}
	if at < s.top+1 {
		s.top = max(0, at-1) // with its section's head
	}
	if at >= s.top+s.view {
		s.top = at - s.view + 1
	}
	s.top = max(0, min(s.top, len(lines)-s.view))
	for i := s.top; i < len(lines) && i < s.top+s.view; i++ {
		x := lines[i]
		if x.row < 0 {
			p.Line(theme.Ground).Space(1).Text(t.Title, x.section)
			continue
		}
		s.row(p, &s.rows[x.row], x.row == s.at, name, col, note)
	}
	if len(foot) > 0 {
		p.Fill(len(foot))
		p.Line(theme.Ground).Space(1).Repeat(t.Rule, t.H, p.Width()-2)
		for _, f := range foot[1:] {
			p.Line(theme.Ground).Space(2).Text(f.style, f.text)
		}
	}
}

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
	if s.at < len(s.rows) {
		r := &s.rows[s.at]
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
	if s.typing {
		l.Text(t.Key, "/")
		s.in.Draw(l, t, min(30, l.Room()/2), true)
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
	if v := s.in.Value(); v != "" {
		l.Text(t.Accent, "  filter "+v)
	}
	if s.only {
		l.Text(t.Accent, "  drift only")
	}
	if len(s.rows) > 0 {
		l.End(t.Dim, fmt.Sprintf("%d/%d", s.at+1, len(s.rows)))
	}
}

func (s *Inventory) promised() bool {
	return slices.ContainsFunc(s.sides, func(d *side) bool { return len(d.profiles) > 0 })
}
