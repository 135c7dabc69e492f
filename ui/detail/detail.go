package detail

import (
	"context"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/data"
	"berth/ui/draw"
	"berth/ui/key"
	"berth/ui/list"
	"berth/ui/screen"
)

// Detail is the screen.
type Detail struct {
	e    *screen.Env
	id   string
	last *data.Row // as it was last seen, for when it is gone
	name string
	list.List
	entry  []entry // in the order in which they are drawn
	pane   bool    // drawn as a part of another screen
	past   []api.Event
	ctx    context.Context
	cancel context.CancelFunc
}

// eventsMsg brings the instance's recorded events.
type eventsMsg struct {
	id     string
	events []api.Event
}

// New makes the screen of the instance with the id arg.
func New(e *screen.Env, arg string) screen.Screen {
	d := &Detail{e: e, id: arg, name: arg}
	d.ctx, d.cancel = context.WithCancel(e.Ctx)
	d.refresh()
	d.Begin(list.Of{Len: func() int { return len(d.entry) },
		ID:   func(i int) string { return d.entry[i].label + d.entry[i].copy },
		Skip: func(i int) bool { return d.entry[i].copy == "" }, Lay: func() {}}, "")
	return d
}

// Close ends what the screen waits for.
func (d *Detail) Close() { d.cancel() }

func (d *Detail) refresh() {
	if r := d.e.Store.Row(d.id); r != nil {
		d.last, d.name = r, r.Name
	} else if op := d.e.Store.Op(d.id); op != nil && d.last == nil {
		d.name = op.Instance
	}
}

// Init implements screen.Screen: it fetches what happened before.
func (d *Detail) Init() tea.Cmd {
	if d.last == nil {
		return nil
	}
	ref := d.e.Store.Ref(d.last)
	return func() tea.Msg {
		ev, err := d.e.WS.Events(d.ctx, api.EventOptions{Instance: ref, Limit: 30})
		if err != nil {
			return nil // the events screen says so; here they are an extra
		}
		return eventsMsg{d.id, ev}
	}
}

// Title implements screen.Screen: the instance's name says all.
func (d *Detail) Title() string { return "" }

// About implements screen.About.
func (d *Detail) About() string { return d.name }

// Topic implements screen.Screen.
func (d *Detail) Topic() string { return "instance" }

// Update implements screen.Screen.
func (d *Detail) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case screen.Changed:
		had := d.last != nil
		d.refresh()
		if !had && d.last != nil {
			return d.Init()
		}
	case eventsMsg:
		if m.id == d.id {
			d.past = m.events
		}
	case tea.KeyMsg:
		return d.Type(m)
	}
	return nil
}

// Subjects implements screen.Subject.
func (d *Detail) Subjects() []*data.Row {
	if r := d.e.Store.Row(d.id); r != nil {
		return []*data.Row{r}
	}
	return nil
}

// Keys implements screen.Screen.
func (d *Detail) Keys() []key.Binding {
	if d.Typing() {
		return d.List.Keys()
	}
	return append(d.List.Keys(), key.Of("y", "", d.copy).As("copy").Saying("Copy the value under the cursor."))
}

func (d *Detail) copy() tea.Cmd {
	i, ok := d.Row()
	if !ok {
		return screen.Warn("there is no value under the cursor")
	}
	return d.e.Send(screen.Copy{What: d.entry[i].label, Text: d.entry[i].copy})
}

// Status implements screen.Stater.
func (d *Detail) Status(l *draw.Line) {
	if !d.Line(l, d.e.Theme) {
		d.Said(l, d.e.Theme)
	}
}
