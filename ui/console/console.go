package console

import (
	"context"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/ui/data"
	"berth/ui/draw"
	"berth/ui/form"
	"berth/ui/key"
	"berth/ui/list"
	"berth/ui/screen"
	"berth/ui/text"
	"berth/ui/theme"
)

// Console is the screen.
type Console struct {
	e *screen.Env
	list.Pager
	id, name string
	ref      string
	raw      string
	lines    []string
	loaded   bool
	end      bool // to be scrolled to
	err      error
	ctx      context.Context
	cancel   context.CancelFunc
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

// About implements screen.About.
func (c *Console) About() string { return c.name }

// Subjects implements screen.Subject.
func (c *Console) Subjects() []*data.Row {
	if r := c.e.Store.Row(c.id); r != nil {
		return []*data.Row{r}
	}
	return nil
}

// Topic implements screen.Screen.
func (c *Console) Topic() string { return "instance" }

// Update implements screen.Screen.
func (c *Console) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case gotMsg:
		if m.id == c.id {
			c.loaded, c.err, c.end = true, m.err, true // the end is what matters
			c.raw, c.lines = m.text, plaintext.Lines(m.text)
		}
	case tea.KeyMsg:
		return c.Type(m)
	}
	return nil
}

// Keys implements screen.Screen.
func (c *Console) Keys() []key.Binding {
	if c.Typing() {
		return c.Pager.Keys()
	}
	return append(c.Pager.Keys(), key.Of("R", "", func() tea.Cmd {
		return tea.Sequence(c.Init(), screen.Info("the output was fetched again"))
	}).As("refresh").Saying("Fetch the output again."),
		key.Of("y", "", func() tea.Cmd {
			return c.e.Send(screen.Copy{What: "the console's output", Text: c.raw})
		}).As("copy").Saying("Copy the whole output."))
}

// Draw implements screen.Screen.
func (c *Console) Draw(p *draw.Page) {
	t := c.e.Theme
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
	var pg draw.Page
	pg.Reset(t, c.Width(p), 1<<20)
	match := list.Match(c.Words())
	for _, l := range c.lines {
		if match == nil || match(l, l) {
			for _, part := range text.Fold(l, pg.Width()-1) {
				pg.Line(theme.Ground).Space(1).Text(t.Text, part)
			}
		}
	}
	if c.end {
		c.end = false
		c.End()
	}
	c.Pager.Draw(p, t, pg.Drawn())
}

// Status implements screen.Stater.
func (c *Console) Status(l *draw.Line) { c.Pager.Status(l, c.e.Theme) }
