package inventory

import (
	"context"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/machine/profile"
	"berth/backend/machine/software"
	"berth/gpu"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/form"
	"berth/ui/key"
	"berth/ui/screen"
)

// Reader is a workspace that can be asked for inventories; *api.WorkspaceClient is one.
type Reader interface {
	InstanceInventory(ctx context.Context, name string) (api.Inventory, error)
}

var _ Reader = (*api.WorkspaceClient)(nil)

// side is one of the instances.
type side struct {
	id, name, ref string
	profiles      []string
	inv           *api.Inventory
	err           error
	asking        bool
}

// Inventory is the screen.
type Inventory struct {
	e       *screen.Env
	dir     string // of the user's profiles
	sides   []*side
	unknown string // what was asked for and is no instance
	all     []software.Row
	rows    []software.Row // that pass the filter
	at, top int
	view    int
	only    bool // drift and differences only
	typing  bool
	in      form.Input
	ctx     context.Context
	cancel  context.CancelFunc
}

type gotMsg struct {
	s   *side
	inv api.Inventory
	err error
}

// besideMsg puts another instance beside the first; an empty id takes it away.
type besideMsg struct {
	of *Inventory
	id string
}

// New makes the screen; arg names one or two instances, by id or name, with a blank between.
func New(e *screen.Env, arg string) screen.Screen {
	s := &Inventory{e: e}
	s.ctx, s.cancel = context.WithCancel(e.Ctx)
	s.in.Hint = "words"
	if h, err := paths.Find(); err == nil {
		s.dir = profile.Dir(h.Config)
	}
	for a := range strings.FieldsSeq(arg) {
		if !s.add(a) && s.unknown == "" {
			s.unknown = a
		}
		if len(s.sides) == 2 {
			break
		}
	}
	return s
}

func (s *Inventory) add(ref string) bool {
	r := s.e.Store.Row(ref)
	if r == nil {
		r = s.e.Store.ByName(ref)
	}
	if r == nil {
		return false
	}
	s.sides = append(s.sides, &side{id: r.ID, name: r.Name, ref: s.e.Store.Ref(r), profiles: r.Profiles})
	return true
}

// Close ends what the screen waits for.
func (s *Inventory) Close() { s.cancel() }

// Init implements screen.Screen.
func (s *Inventory) Init() tea.Cmd {
	var cmds []tea.Cmd
	for _, d := range s.sides {
		cmds = append(cmds, s.ask(d))
	}
	return tea.Batch(cmds...)
}

// ask reads one instance's inventory.
func (s *Inventory) ask(d *side) tea.Cmd {
	r, ok := s.e.WS.(Reader)
	if !ok || d.asking {
		return nil
	}
	d.asking = true
	return func() tea.Msg {
		inv, err := r.InstanceInventory(s.ctx, d.ref)
		if err == nil {
			profile.Load(s.dir).Hold(&inv, d.profiles)
		}
		return gotMsg{d, inv, err}
	}
}

// Title implements screen.Screen.
func (s *Inventory) Title() string { return "inventory" }

// Topic implements screen.Screen.
func (s *Inventory) Topic() string { return "inventory" }

// Typing implements screen.Typer.
func (s *Inventory) Typing() bool { return s.typing }

// Subjects implements screen.Subject.
func (s *Inventory) Subjects() []*data.Row {
	if len(s.sides) > 0 {
		if r := s.e.Store.Row(s.sides[0].id); r != nil {
			return []*data.Row{r}
		}
	}
	return nil
}

// Update implements screen.Screen.
func (s *Inventory) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case gotMsg:
		for _, d := range s.sides {
			if d != m.s {
				continue
			}
			d.asking, d.err = false, m.err
			if m.err == nil {
				d.inv = &m.inv
			}
			s.lay()
		}
	case besideMsg:
		if m.of != s || len(s.sides) == 0 {
			return nil
		}
		s.sides = s.sides[:1]
		var cmd tea.Cmd
		if m.id != "" && s.add(m.id) {
			cmd = s.ask(s.sides[1])
		}
		s.lay()
		return cmd
	case tea.KeyMsg:
		if !s.typing {
			return nil
		}
		var changed bool
		if s.typing, changed = s.in.Search(m); changed {
			s.filter()
		}
	}
	return nil
}

// lay makes the rows anew from what has been read.
func (s *Inventory) lay() {
	var invs []*api.Inventory
	whole := true
	for _, d := range s.sides {
		inv := d.inv
		if inv == nil { // its column stays empty until it is read
			inv, whole = &api.Inventory{}, false
		}
		invs = append(invs, inv)
	}
	s.all = nil
	if len(invs) > 0 {
		s.all = software.Rows(invs...)
	}
	for i := range s.all {
		s.all[i].Differs = s.all[i].Differs && whole
	}
	s.filter()
}

// filter keeps what matches, and the cursor on the same row.
func (s *Inventory) filter() {
	var was software.Row
	if s.at < len(s.rows) {
		was = s.rows[s.at]
	}
	match := gpu.Words(s.in.Value())
	s.rows, s.at = nil, 0
	for _, r := range s.all {
		if s.only && !r.Drifts() && !r.Differs {
			continue
		}
		if match != nil && !match(r.Section+" "+r.Name+" "+strings.Join(r.Values, " ")) {
			continue
		}
		if r.Section == was.Section && r.Name == was.Name {
			s.at = len(s.rows)
		}
		s.rows = append(s.rows, r)
	}
}

func (s *Inventory) move(n int) { s.at = max(0, min(s.at+n, len(s.rows)-1)) }

// Keys implements screen.Screen.
func (s *Inventory) Keys() []key.Binding {
	const look, move = "Looking", "Moving"
	step := func(n int) func() tea.Cmd { return func() tea.Cmd { s.move(n); return nil } }
	none, nobody := "", ""
	if len(s.rows) == 0 {
		none = "there is nothing here"
	}
	if len(s.sides) == 0 {
		nobody = "there is no instance here"
	}
	bs := []key.Binding{
		{Keys: []string{"v"}, Label: "beside", Group: look, Desc: "Show another instance beside this one.", Why: nobody,
			Do: s.choose},
		{Keys: []string{"w"}, Label: "drift", Group: look,
			Desc: "Show only what is not as promised, or not the same, or all.", Why: nobody,
			Do: func() tea.Cmd { s.only = !s.only; s.filter(); return nil }},
		{Keys: []string{"/"}, Label: "filter", Group: look, Desc: "Show only what matches; ! for what does not.",
			Do: func() tea.Cmd { s.typing = true; return nil }},
		{Keys: []string{"r", "ctrl+r"}, Show: "r", Label: "again", Group: look, Desc: "Read it from the instance again.",
			Why: nobody, Do: s.Init},
		{Keys: []string{"y"}, Label: "copy", Group: look, Desc: "Copy the line under the cursor.", Why: none,
			Do: func() tea.Cmd {
				r := s.rows[s.at]
				return s.e.Send(screen.Copy{What: r.Name, Text: strings.TrimSpace(r.Name + " " + strings.Join(r.Values, " "))})
			}},
		{Keys: []string{"c", "Y"}, Show: "c", Group: look, Desc: "Copy the command line that shows the same.", Why: nobody,
			Do: func() tea.Cmd {
				line := "berth inventory"
				for _, d := range s.sides {
					line += " " + d.ref
				}
				return s.e.Send(screen.Copy{What: "the command line", Text: line})
			}},
		{Keys: []string{"down", "j"}, Show: "↓ j", Group: move, Desc: "Down.", Do: step(1)},
		{Keys: []string{"up", "k"}, Show: "↑ k", Group: move, Desc: "Up.", Do: step(-1)},
		{Keys: []string{"g", "home"}, Show: "g", Group: move, Desc: "To the top.", Do: step(-1 << 30)},
		{Keys: []string{"G", "end"}, Show: "G", Group: move, Desc: "To the end.", Do: step(1 << 30)},
		{Keys: []string{"pgdown", "ctrl+f"}, Show: "pgdn", Group: move, Desc: "A page down.",
			Do: func() tea.Cmd { s.move(max(1, s.view)); return nil }},
		{Keys: []string{"pgup", "ctrl+b"}, Show: "pgup", Group: move, Desc: "A page up.",
			Do: func() tea.Cmd { s.move(-max(1, s.view)); return nil }},
	}
	if s.in.Value() != "" || s.only {
		bs = append(bs, key.Binding{Keys: []string{"esc"}, Label: "all", Group: look, Desc: "Take the filter away.",
			Do: func() tea.Cmd { s.in.Set(""); s.only = false; s.filter(); return nil }})
	}
	return bs
}

// choose asks for the other instance.
func (s *Inventory) choose() tea.Cmd {
	m := &dialog.Menu{Title: "Beside " + s.sides[0].name}
	if len(s.sides) > 1 {
		m.Items = append(m.Items, dialog.Item{Label: "none", Detail: "only " + s.sides[0].name,
			Do: screen.Send(besideMsg{s, ""})})
	}
	s.e.Store.Each(func(r *data.Row) {
		if r.ID != s.sides[0].id {
			m.Items = append(m.Items, dialog.Item{Label: r.Name, Detail: string(r.State), Do: screen.Send(besideMsg{s, r.ID})})
		}
	})
	if len(m.Items) == 0 {
		return screen.Warn("there is no other instance")
	}
	sortItems(m.Items)
	return s.e.Send(screen.Show{Dialog: m})
}

// Mouse implements screen.Mouser.
func (s *Inventory) Mouse(m tea.MouseMsg) tea.Cmd {
	switch m.Button {
	case tea.MouseButtonWheelDown:
		s.move(3)
	case tea.MouseButtonWheelUp:
		s.move(-3)
	}
	return nil
}
