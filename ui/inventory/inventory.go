package inventory

import (
	"context"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/base/shellquote"
	"berth/backend/machine/profile"
	"berth/backend/machine/software"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/key"
	"berth/ui/list"
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
	e *screen.Env
	list.List
	dir     string // of the user's profiles
	sides   []*side
	unknown string // what was asked for and is no instance
	all     []software.Row
	rows    []software.Row // that pass the filter
	only    bool           // drift and differences only
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
	s.Begin(list.Of{Lay: s.filter, Len: func() int { return len(s.rows) },
		ID: func(i int) string { return s.rows[i].Section + "/" + s.rows[i].Name }}, "")
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

// About implements screen.About.
func (s *Inventory) About() string {
	if len(s.sides) > 0 {
		return s.sides[0].name
	}
	return ""
}

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
		return s.Type(m)
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
	s.Keep(s.filter)
}

// filter keeps what matches.
func (s *Inventory) filter() {
	match := list.Match(s.Words())
	s.rows = nil
	for _, r := range s.all {
		if s.only && !r.Drifts() && !r.Differs {
			continue
		}
		if match != nil && !match(r.Name, r.Section+" "+r.Name+" "+strings.Join(r.Values, " ")) {
			continue
		}
		s.rows = append(s.rows, r)
	}
}

// Keys implements screen.Screen.
func (s *Inventory) Keys() []key.Binding {
	if s.Typing() {
		return s.List.Keys()
	}
	none, nobody := "", ""
	if len(s.rows) == 0 {
		none = "there is nothing here"
	}
	if len(s.sides) == 0 {
		nobody = "there is no instance here"
	}
	toggle := func() tea.Cmd { s.only = !s.only; s.Keep(s.filter); return nil }
	bs := []key.Binding{
		{Keys: []string{"v"}, Label: "beside", Group: key.Looking, Desc: "Show another instance beside this one.", Why: nobody,
			Do: s.choose},
		{Keys: []string{"."}, Label: "drift", Group: key.Looking,
			Desc: "Show only what is not as promised, or not the same, or all.", Why: nobody,
			Do: toggle},
		key.Of("R", nobody, func() tea.Cmd {
			return tea.Sequence(s.Init(), screen.Info("it was read again"))
		}).As("refresh").Saying("Read it from the instance again."),
		key.Of("y", none, func() tea.Cmd {
			r := s.rows[s.At]
			return s.e.Send(screen.Copy{What: r.Name, Text: strings.TrimSpace(r.Name + " " + strings.Join(r.Values, " "))})
		}).As("copy").Saying("Copy the line under the cursor."),
		key.Of("c", nobody, func() tea.Cmd {
			line := []string{"berth", "inventory"}
			for _, d := range s.sides {
				line = append(line, d.ref)
			}
			return s.e.Send(screen.Copy{What: "the command line", Text: shellquote.Line(line...)})
		}),
	}
	if s.only && !s.Narrowed() {
		bs = append(bs, key.Of("esc", "", toggle).As("clear").Saying("As it was before."))
	}
	return append(bs, s.List.Keys()...)
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
