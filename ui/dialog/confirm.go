package dialog

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/base/plaintext"
	"berth/ui/form"
	"berth/ui/screen"
)

// Confirm asks before something is done. The answer is no unless another is chosen.
type Confirm struct {
	Title   string
	Text    string
	Lost    []string // what is lost, or what happens
	Kept    []string // what stays
	Command string   // the command line that does the same
	Verb    string   // on the button
	Danger  bool
	Type    string // what must be typed first; empty: nothing
	Do      tea.Cmd

	in   form.Input
	b    buttons
	said string
}

func (c *Confirm) init() {
	if c.b.list == nil {
		c.b.list = []button{{label: "Cancel"}, {label: c.Verb, danger: c.Danger}}
	}
}

// Update implements screen.Dialog.
func (c *Confirm) Update(msg tea.Msg) (bool, tea.Cmd) {
	c.init()
	switch m := msg.(type) {
	case tea.MouseMsg:
		switch c.b.mouse(m) {
		case 0:
			return true, nil
		case 1:
			return c.accept()
		}
	case tea.KeyMsg:
		k := m.String()
		if k == "esc" {
			return true, nil
		}
		if k == "enter" {
			if c.b.focus == 1 || c.Type != "" && c.in.Len() > 0 && !c.typed() {
				return c.accept() // or says what is still wrong
			}
			return true, nil
		}
		if c.Type != "" {
			if k == "tab" || k == "shift+tab" {
				c.b.key(k)
				return false, nil
			}
			c.said = ""
			c.in.Update(m)
			c.b.focus = 0
			if c.typed() { // the button that enter presses is the one that is lit
				c.b.focus = 1
			}
			return false, nil
		}
		switch k {
		case "y":
			return true, c.Do
		case "n", "q":
			return true, nil
		case "Y", "c":
			return false, screen.Send(screen.Copy{What: "the command line", Text: c.Command})
		}
		c.b.key(k)
	}
	return false, nil
}

// typed reports whether what must be typed was.
func (c *Confirm) typed() bool { return c.Type == "" || c.in.Value() == plaintext.Clean(c.Type) }

func (c *Confirm) accept() (bool, tea.Cmd) {
	if !c.typed() {
		c.said = "That is not what must be typed. Nothing was done."
		return false, nil
	}
	return true, c.Do
}

// Box implements screen.Dialog.
func (c *Confirm) Box(e *screen.Env, w, h int) []string {
	c.init()
	t := e.Theme
	st := t.Title
	if c.Danger {
		st = t.Bad
	}
	f := newFrame(e, c.Title, boxWidth(w, 66), st)
	small := h < 14
	if !small {
		f.blank()
	}
	if c.Text != "" {
		f.text(t.Text, c.Text)
	}
	for _, s := range c.Lost {
		f.item(t.Bad, t.Text, s)
	}
	for _, s := range c.Kept {
		f.item(t.Good, t.Dim, s)
	}
	if c.Command != "" {
		if !small {
			f.blank()
		}
		f.command(c.Command)
	}
	if c.Type != "" {
		if !small {
			f.blank()
		}
		l := f.begin()
		l.Text(t.Text, "Type ").Text(t.Bold, c.Type).Text(t.Text, " to go on: ")
		if l.Room() < 12 {
			l = f.begin()
		}
		c.in.Draw(l, t, l.Room()-2, true)
		if c.said != "" {
			f.text(t.Bad, c.said)
		}
	}
	c.b.draw(f)
	keys := "y yes " + t.Dot + " n no " + t.Dot + " c copy"
	if c.Type != "" {
		keys = "esc no"
		if c.typed() {
			keys = "enter " + strings.ToLower(c.Verb) + " " + t.Dot + " esc no"
		}
	}
	return c.b.end(f, keys, h)
}

var _ screen.Dialog = (*Confirm)(nil)
