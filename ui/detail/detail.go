package detail

import (
	"context"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/action"
	"berth/ui/data"
	"berth/ui/key"
	"berth/ui/screen"
)

// Detail is the screen.
type Detail struct {
	e      *screen.Env
	id     string
	last   *data.Row // as it was last seen, for when it is gone
	name   string
	at     int // the entry under the cursor
	entry  []entry
	tops   [5]int
	view   int
	spans  []span // where entries were drawn, for the mouse
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

// Title implements screen.Screen.
func (d *Detail) Title() string { return d.name }

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
	r := d.e.Store.Row(d.id)
	gone := ""
	if r == nil {
		gone = d.name + " is gone"
	}
	verb := action.Stop
	if r != nil {
		verb = action.Toggle(r)
	}
	why := func(v string) string {
		if gone != "" {
			return gone
		}
		return action.Why(d.e, r, v)
	}
	on := func(v string) func() tea.Cmd {
		return func() tea.Cmd { return action.Do(d.e, v, d.Subjects()) }
	}
	const acts, move = "Acting", "Moving"
	step := func(n int) func() tea.Cmd {
		return func() tea.Cmd { d.move(n); return nil }
	}
	return []key.Binding{
		{Keys: []string{"t"}, Label: "shell", Group: acts,
			Desc: "Give this terminal to a shell on the instance; enter ~ . comes back.", Why: why(action.Shell),
			Do: on(action.Shell)},
		{Keys: []string{"f"}, Label: "figures", Group: acts, Desc: "Its GPUs, processes, disks and their history, live.",
			Why: gone, Do: func() tea.Cmd { return d.e.Send(screen.Open{Name: "top", Arg: d.id}) }},
		{Keys: []string{"s"}, Label: verb, Group: acts, Desc: "Start what is stopped, stop what runs.", Why: why(verb),
			Do: on(verb)},
		{Keys: []string{"r"}, Label: "restart", Group: acts, Desc: "Restart the instance.", Why: why(action.Restart),
			Do: on(action.Restart)},
		{Keys: []string{"d"}, Label: "delete", Group: acts,
			Desc: "Delete the instance and its disk, or forget an adopted one; asks first.", Why: why(action.Delete),
			Do: on(action.Delete)},
		{Keys: []string{"u"}, Label: labelIf(r != nil && r.State == api.StateSetupFailed, "set up"), Group: acts,
			Desc: "Go on with a set-up that failed, from the step that failed.", Why: why(action.Setup), Do: on(action.Setup)},
		{Keys: []string{"U"}, Group: acts, Desc: "Let go of a set-up that failed: the instance is used as it is.",
			Why: why(action.LetGo), Do: on(action.LetGo)},
		{Keys: []string{"b"}, Label: labelIf(r != nil && r.Capabilities.Snapshots, "snapshots"), Group: acts,
			Desc: "Its snapshots: take one, go back to one, delete one.", Why: gone,
			Do: func() tea.Cmd { return d.e.Send(screen.Open{Name: "snapshots", Arg: d.id}) }},
		{Keys: []string{"o"}, Label: "console", Group: acts, Desc: "The last output of its console or supervisor.",
			Why: why(action.Console), Do: on(action.Console)},
		{Keys: []string{"y"}, Label: "copy", Group: acts, Desc: "Copy the value under the cursor.", Do: d.copy},
		{Keys: []string{"c", "Y"}, Show: "c", Label: "commands", Group: acts,
			Desc: "Show and copy the command lines that do the same.", Why: gone,
			Do: func() tea.Cmd { return action.Commands(d.e, d.Subjects()) }},
		{Keys: []string{"e"}, Label: "events", Group: acts, Desc: "What happened to this instance.",
			Do: func() tea.Cmd { return d.e.Send(screen.Open{Name: "events", Arg: d.name}) }},
		{Keys: []string{"i"}, Group: acts, Desc: "What is really installed on it, against what its profiles promise.",
			Why: gone, Do: func() tea.Cmd { return d.e.Send(screen.Open{Name: "inventory", Arg: d.id}) }},
		{Keys: []string{"ctrl+r"}, Group: acts, Desc: "Ask the provider how the instance is now.", Why: gone,
			Do: func() tea.Cmd { return action.Refresh(d.e, d.Subjects()) }},
		{Keys: []string{"down", "j"}, Show: "↓ j", Group: move, Desc: "To the next value.", Do: step(1)},
		{Keys: []string{"up", "k"}, Show: "↑ k", Group: move, Desc: "To the value before.", Do: step(-1)},
		{Keys: []string{"g", "home"}, Show: "g", Group: move, Desc: "To the first value.", Do: step(-1 << 20)},
		{Keys: []string{"G", "end"}, Show: "G", Group: move, Desc: "To the last value.", Do: step(1 << 20)},
		{Keys: []string{"pgdown"}, Show: "pgdn", Group: move, Desc: "A page down.",
			Do: func() tea.Cmd { d.move(d.view); return nil }},
		{Keys: []string{"pgup"}, Show: "pgup", Group: move, Desc: "A page up.",
			Do: func() tea.Cmd { d.move(-d.view); return nil }},
	}
}

// labelIf is a label that stands in the footer only where it matters.
func labelIf(yes bool, label string) string {
	if yes {
		return label
	}
	return ""
}

// move puts the cursor n values on.
func (d *Detail) move(n int) {
	step := 1
	if n < 0 {
		step, n = -1, -n
	}
	for i := d.at + step; i >= 0 && i < len(d.entry) && n > 0; i += step {
		if d.entry[i].copy != "" {
			d.at = i
			n--
		}
	}
}

func (d *Detail) copy() tea.Cmd {
	if d.at >= len(d.entry) || d.entry[d.at].copy == "" {
		return screen.Warn("there is no value under the cursor")
	}
	x := d.entry[d.at]
	return d.e.Send(screen.Copy{What: x.label, Text: x.copy})
}
