package dialog

import (
	tea "github.com/charmbracelet/bubbletea"

	"berth/ui/form"
	"berth/ui/screen"
)

// Prompt asks for one line, for which it may have a proposal.
type Prompt struct {
	Title, Text string
	Label       string              // before the line
	Verb        string              // on the button
	Fault       func(string) string // what is wrong with a line, or ""
	Do          func(string) tea.Cmd

	in   form.Input
	b    buttons
	said string
}

// Suggest proposes a line, which what is typed replaces.
func (p *Prompt) Suggest(s string) { p.in.Suggest(s) }

func (p *Prompt) init() {
	if p.b.list == nil {
		p.b.list, p.b.focus = []button{{label: "Cancel"}, {label: p.Verb}}, 1
	}
}

func (p *Prompt) pick(i int) (bool, tea.Cmd) {
	if i == 0 {
		return true, nil
	}
	if p.said = p.Fault(p.in.Value()); p.said != "" {
		return false, nil
	}
	return true, p.Do(p.in.Value())
}

// Update implements screen.Dialog.
func (p *Prompt) Update(msg tea.Msg) (bool, tea.Cmd) {
	p.init()
	switch m := msg.(type) {
	case tea.MouseMsg:
		if i := p.b.mouse(m); i >= 0 {
			return p.pick(i)
		}
	case tea.KeyMsg:
		switch k := m.String(); k {
		case "esc":
			return true, nil
		case "enter":
			return p.pick(p.b.focus)
		case "tab", "shift+tab":
			p.b.key(k)
		default:
			if p.in.Update(m) {
				p.said, p.b.focus = "", 1
			}
		}
	}
	return false, nil
}

// Box implements screen.Dialog.
func (p *Prompt) Box(e *screen.Env, w, h int) []string {
	p.init()
	t := e.Theme
	f := newFrame(e, p.Title, boxWidth(w, 66), t.Title)
	if h >= 12 {
		f.blank()
	}
	f.text(t.Text, p.Text)
	if h >= 14 {
		f.blank()
	}
	l := f.begin()
	l.Text(t.Dim, p.Label+" ")
	p.in.Draw(l, t, l.Room()-2, true)
	if p.said != "" {
		f.text(t.Bad, p.said)
	}
	p.b.draw(f)
	return p.b.end(f, "enter choose "+t.Dot+" esc cancel", h)
}

var _ screen.Dialog = (*Prompt)(nil)
