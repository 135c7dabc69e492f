package ports

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/action"
	"berth/ui/data"
	"berth/ui/key"
	"berth/ui/list"
	"berth/ui/screen"
)

const (
	// every is how long after an answer it is asked again; retry is that after a failure.
	every = 2 * time.Second
	retry = 5 * time.Second
)

// Ports is the screen.
type Ports struct {
	e *screen.Env
	list.List
	id, name string
	all      []row // all there are
	rows     []row // those that are shown
	widest   widths
	network  string
	warnings []string

	want   int // port that is to be opened when it is known what listens; 0: none
	loaded bool
	err    error
	asked  time.Time // when the question under way was put; zero: there is none
	seq    int       // of the last question: answers and ticks of older ones come too late
	ctx    context.Context
	cancel context.CancelFunc
	stop   context.CancelFunc // gives up the question under way
}

type (
	gotMsg struct {
		of   *Ports
		seq  int
		list api.Ports
		err  error
	}
	againMsg struct {
		of  *Ports
		seq int
	}
)

// Opening is the argument of the screen that opens a port of an instance in the browser.
func Opening(id string, port int) string { return id + " " + strconv.Itoa(port) }

// New makes the screen of the instance with the id arg; or of one of which a port is to be opened (Opening).
func New(e *screen.Env, arg string) screen.Screen {
	id, port, _ := strings.Cut(arg, " ")
	s := &Ports{e: e, id: id, name: id}
	s.want, _ = strconv.Atoi(port)
	if r := s.row(); r != nil {
		s.name = r.Name
	}
	s.ctx, s.cancel = context.WithCancel(e.Ctx)
	s.Begin(list.Of{Len: func() int { return len(s.rows) }, ID: func(i int) string { return s.rows[i].id() }, Lay: s.lay,
		By: func() []string { return []string{"port", "user", "owner", "command"} }, Open: func() tea.Cmd { return s.forward() },
		Now: e.Now}, "")
	return s
}

// Close ends what the screen waits for; what was forwarded stays so.
func (s *Ports) Close() { s.cancel() }

// Init implements screen.Screen.
func (s *Ports) Init() tea.Cmd { return s.ask() }

// Title implements screen.Screen.
func (s *Ports) Title() string { return "ports" }

// About implements screen.About.
func (s *Ports) About() string { return s.name }

// Topic implements screen.Screen.
func (s *Ports) Topic() string { return "forward" }

// Subjects implements screen.Subject.
func (s *Ports) Subjects() []*data.Row {
	if r := s.row(); r != nil {
		return []*data.Row{r}
	}
	return nil
}

func (s *Ports) row() *data.Row { return s.e.Store.Row(s.id) }

// silent says why the instance is not asked, or "".
func (s *Ports) silent() string {
	r := s.row()
	switch {
	case r == nil:
		return s.name + " is gone"
	case s.e.Ports == nil:
		return "there is no way to ports from here"
	}
	if w := action.Why(s.e, r, action.Ports); w != "" {
		return w
	}
	switch r.State {
	case api.StateStopped, api.StateStopping, api.StateCreateFailed, api.StateDeleting:
		return r.Name + " is " + action.Word(r.State) + ": nothing listens there"
	}
	return ""
}

// ask reads the list. A question that was not answered yet is given up.
func (s *Ports) ask() tea.Cmd {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
	s.seq++
	s.asked = time.Time{}
	if s.silent() != "" {
		return nil
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(s.ctx)
	s.asked = s.e.Now()
	m, agent := gotMsg{of: s, seq: s.seq}, s.e.Ports(s.e.Store.Ref(s.row()))
	return func() tea.Msg {
		m.list, m.err = agent.List(ctx)
		return m
	}
}

// Update implements screen.Screen.
func (s *Ports) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case gotMsg:
		if m.of == s && m.seq == s.seq && s.ctx.Err() == nil {
			return s.got(m)
		}
	case againMsg:
		if m.of == s && m.seq == s.seq && !s.e.Blurred {
			return s.ask()
		}
	case screen.Looked:
		if !s.e.Blurred && s.asked.IsZero() {
			return s.ask()
		}
	case screen.Changed:
		if r := s.row(); r != nil {
			s.name = r.Name
		}
		switch why := s.silent(); {
		case why != "" && s.loaded: // what is known of it was before
			s.loaded, s.all, s.err = false, nil, nil
			s.Keep(s.lay)
			return s.ask()
		case why == "" && !s.loaded && s.err == nil && s.asked.IsZero():
			return s.ask()
		}
	case begunMsg:
		if m.of == s {
			return s.begun(m)
		}
	case tea.KeyMsg:
		return s.Type(m)
	}
	return nil
}

func (s *Ports) got(m gotMsg) tea.Cmd {
	s.stop()
	s.asked, s.err = time.Time{}, m.err
	wait := retry
	if m.err == nil {
		wait = every
		s.loaded, s.network, s.warnings = true, m.list.Network, m.list.Warnings
		s.all = make([]row, len(m.list.Ports))
		for i := range m.list.Ports {
			s.all[i] = row{Port: &m.list.Ports[i]}
		}
		s.Keep(s.lay)
	}
	again := againMsg{s, s.seq}
	return tea.Batch(s.openWanted(), s.e.Tick(wait, func(time.Time) tea.Msg { return again }))
}

// openWanted opens, once, the port that is to be opened.
func (s *Ports) openWanted() tea.Cmd {
	port := s.want
	if s.want = 0; port == 0 || s.err != nil {
		return nil
	}
	i := slices.IndexFunc(s.rows, func(r row) bool { return r.Socket == "" && r.target().Port == port })
	if i < 0 {
		return screen.Warn(fmt.Sprintf("nothing listens on port %d of %s", port, s.name))
	}
	s.At = i
	if s.e.Forwards == nil {
		return nil
	}
	return s.open()
}

// Keys implements screen.Screen.
func (s *Ports) Keys() []key.Binding {
	if s.Typing() {
		return s.List.Keys()
	}
	none, can, here := "", "", ""
	i, ok := s.Row()
	switch {
	case !ok:
		none = "there is nothing here"
		can, here = none, none
	case s.e.Forwards == nil:
		can = "nothing can be forwarded from here"
		here = can
	case s.here(&s.rows[i]) == nil:
		here = "it is not forwarded"
	}
	gone := ""
	if s.row() == nil {
		gone = s.name + " is gone"
	}
	open := can
	if ok && s.rows[i].Socket != "" {
		open = "a browser opens ports, no sockets"
	}
	bs := []key.Binding{
		key.Of("enter", can, s.forward).As("forward").Saying("Make it a port of this computer, while this dashboard runs."),
		key.Of("o", open, s.open).As("open").Saying("Open it in the browser; it is forwarded first."),
		{Keys: []string{"x", "delete"}, Label: "end", Group: key.Looking, Desc: "End its forward, with the connections.",
			Why: here, Do: s.end},
		key.Of("y", none, s.copy).As("copy").Saying("Copy where it is forwarded to, or its port."),
		key.Of("c", gone, s.command).As("command"),
		key.Of("R", gone, s.ask).Saying("Ask what listens now."),
	}
	return append(bs, s.List.Keys()...)
}
