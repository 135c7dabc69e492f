package console

import (
	"context"
	"fmt"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/ui/draw"
	"berth/ui/form"
	"berth/ui/key"
	"berth/ui/screen"
	"berth/ui/theme"
)

// Console is the screen.
type Console struct {
	e         *screen.Env
	id, name  string
	ref       string
	raw       string
	lines     []string
	top, view int
	loaded    bool
	err       error
	ctx       context.Context
	cancel    context.CancelFunc
}

type gotMsg struct {
	id, text string
	err      error
}

// New makes the screen of the instance with the id arg.
func New(e *screen.Env, arg string) screen.Screen {
	c := &Console{e: e, id: arg, name: arg, ref: arg}
	c.ctx, c.cancel = context.WithCancel(e.Ctx)
	if r := e.Store.Row(arg); r != nil {
		c.name, c.ref = r.Name, e.Store.Ref(r)
	}
	return c
}

// Close ends what the screen waits for.
func (c *Console) Close() { c.cancel() }

// Init implements screen.Screen.
func (c *Console) Init() tea.Cmd {
	return func() tea.Msg {
		s, err := c.e.WS.Console(c.ctx, c.ref)
		return gotMsg{c.id, s, err}
	}
}

// Title implements screen.Screen.
func (c *Console) Title() string { return "console" }

// Topic implements screen.Screen.
func (c *Console) Topic() string { return "instance" }

// Update implements screen.Screen.
func (c *Console) Update(msg tea.Msg) tea.Cmd {
	if m, ok := msg.(gotMsg); ok && m.id == c.id {
		c.loaded, c.err = true, m.err
		c.raw, c.lines = m.text, plaintext.Lines(m.text)
		c.top = len(c.lines) // the end is what matters
	}
	return nil
}

// Keys implements screen.Screen.
func (c *Console) Keys() []key.Binding {
	const look, move = "Looking", "Moving"
	step := func(n int) func() tea.Cmd { return func() tea.Cmd { c.top += n; return nil } }
	return []key.Binding{
		{Keys: []string{"r", "ctrl+r"}, Show: "r", Label: "again", Group: look, Desc: "Fetch the output again.", Do: c.Init},
		{Keys: []string{"y"}, Label: "copy", Group: look, Desc: "Copy the whole output.", Do: func() tea.Cmd {
			return c.e.Send(screen.Copy{What: "the console's output", Text: c.raw})
		}},
		{Keys: []string{"down", "j"}, Show: "↓ j", Group: move, Desc: "Down.", Do: step(1)},
		{Keys: []string{"up", "k"}, Show: "↑ k", Group: move, Desc: "Up.", Do: step(-1)},
		{Keys: []string{"g", "home"}, Show: "g", Label: "top", Group: move, Desc: "To the beginning.", Do: step(-1 << 30)},
		{Keys: []string{"G", "end"}, Show: "G", Label: "end", Group: move, Desc: "To the end.", Do: step(1 << 30)},
		{Keys: []string{"pgdown", "ctrl+f"}, Show: "pgdn", Group: move, Desc: "A page down.",
			Do: func() tea.Cmd { c.top += c.view; return nil }},
		{Keys: []string{"pgup", "ctrl+b"}, Show: "pgup", Group: move, Desc: "A page up.",
			Do: func() tea.Cmd { c.top -= c.view; return nil }},
	}
}

// Mouse implements screen.Mouser.
func (c *Console) Mouse(m tea.MouseMsg) tea.Cmd {
	switch m.Button {
	case tea.MouseButtonWheelDown:
		c.top += 3
	case tea.MouseButtonWheelUp:
		c.top -= 3
	}
	return nil
}

// Draw implements screen.Screen.
func (c *Console) Draw(p *draw.Page) {
	t := c.e.Theme
	c.view = p.Height()
	c.top = max(0, min(c.top, len(c.lines)-c.view))
	switch {
	case c.err != nil:
		e := api.AsError(c.err)
		p.Blank(1)
		form.Error(p, t, e.Message, e.Hint)
		return
	case !c.loaded:
		p.Blank(1)
		p.Line(theme.Ground).Space(2).Text(t.Dim, "Fetching the console of "+c.name+t.Ellipsis)
		return
	case len(c.lines) == 0:
		p.Blank(1)
		p.Line(theme.Ground).Space(2).Text(t.Dim, "The console of "+c.name+" has put out nothing.")
		return
	}
	for i := c.top; i < len(c.lines) && p.Left() > 0; i++ {
		p.Line(theme.Ground).Space(1).Text(t.Text, c.lines[i])
	}
}

// Status implements screen.Stater.
func (c *Console) Status(l *draw.Line) {
	if n := len(c.lines); n > 0 {
		l.Text(c.e.Theme.Dim, "console of "+c.name)
		l.End(c.e.Theme.Dim, fmt.Sprintf("lines %d-%d of %d", c.top+1, min(n, c.top+c.view), n))
	}
}
