package top

import (
	"context"
	"strconv"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/gpu"
	"berth/ui/data"
	"berth/ui/list"
	"berth/ui/screen"
)

const (
	pace        = time.Second      // between two samples while somebody looks
	blurredPace = 15 * time.Second // and while nobody does
	retry       = 5 * time.Second  // after the agent could not be reached
	// settled is how long a filter must stand before the agent searches all processes for it.
	settled = 300 * time.Millisecond
)

// page is what the screen shows of the instance.
type page int

const (
	overview page = iota
	facts         // all that is known of one thing
	graph         // the history of one thing
)

// Top is the screen.
type Top struct {
	e *screen.Env
	list.List
	ref    string // what was asked for: an id or a name
	id     string // "" until the fleet has it
	name   string
	ctx    context.Context
	cancel context.CancelFunc

	gen    int // of the watch under way
	stop   context.CancelFunc
	asked  bool        // a watch runs, or is about to be tried again
	search string      // the filter that it searches with
	sample *gpu.Sample // the last one, or what the fleet knows
	own    bool        // sample came from the agent
	came   time.Time   // when
	err    error       // why none comes

	items    []item
	graphed  bool // a graph is in sight
	sections []section
	tops     [kinds]int // the first line in view, by section
	first    int        // where the cursor begins
	tree     bool

	page page
	of   item // what facts and graph are about
	top  int  // of the facts
	back page // where esc goes from the graph
	view int
	wide map[string]int // the content's width by column, of the frame being drawn
	past past
}

type (
	sampleMsg struct {
		of  *Top
		gen int
		s   gpu.Sample
	}
	endedMsg struct {
		of  *Top
		gen int
		err error
	}
	againMsg struct {
		of  *Top
		gen int
	}
	searchMsg struct {
		of     *Top
		filter string
	}
)

// New makes the screen of an instance; arg is its id or name, and may go on with the index of a GPU.
func New(e *screen.Env, arg string) screen.Screen {
	ref, rest, _ := strings.Cut(arg, " ")
	s := &Top{e: e, ref: ref, name: ref}
	s.first, _ = strconv.Atoi(rest)
	s.Begin(list.Of{Len: func() int { return len(s.items) },
		ID: func(i int) string { return s.items[i].id() }, Lay: s.build,
		By: func() []string { return sortNames }, Went: s.went, Open: func() tea.Cmd { return s.open(facts) }, Now: e.Now}, "")
	s.past.init()
	s.resolve()
	s.ctx, s.cancel = context.WithCancel(e.Ctx)
	s.fallback()
	return s
}

// resolve finds the instance: the screen may be opened before the fleet has come.
func (s *Top) resolve() {
	r := s.e.Store.Row(s.id)
	if r == nil && s.id == "" {
		if r = s.e.Store.Row(s.ref); r == nil {
			r = s.e.Store.ByName(s.ref)
		}
	}
	if r != nil {
		s.id, s.name = r.ID, r.Name
	}
}

// Close ends what the screen waits for.
func (s *Top) Close() { s.cancel() }

// Init implements screen.Screen.
func (s *Top) Init() tea.Cmd { return tea.Batch(s.watch(), s.fetch()) }

// Title implements screen.Screen.
func (s *Top) Title() string { return "top" }

// About implements screen.About.
func (s *Top) About() string { return s.name }

// Topic implements screen.Screen.
func (s *Top) Topic() string { return "top" }

// Subjects implements screen.Subject.
func (s *Top) Subjects() []*data.Row {
	if r := s.e.Store.Row(s.id); r != nil {
		return []*data.Row{r}
	}
	return nil
}

// agent is the way to the instance's agent, or nil with the reason.
func (s *Top) agent() (screen.Agent, string) {
	r := s.e.Store.Row(s.id)
	switch {
	case r == nil && s.id == "" && !s.e.Store.Loaded:
		return nil, "the fleet has not come yet"
	case r == nil && s.id == "":
		return nil, "there is no instance " + s.name
	case r == nil:
		return nil, s.name + " is gone"
	case r.State != api.StateRunning:
		return nil, s.name + " is " + strings.ReplaceAll(string(r.State), "_", " ")
	case s.e.Agent == nil || s.e.Post == nil:
		return nil, "there is no way to its agent from here"
	}
	return s.e.Agent(s.e.Store.Ref(r)), ""
}

// watch follows the agent's samples, at the pace that fits.
func (s *Top) watch() tea.Cmd {
	if s.stop != nil {
		s.stop()
	}
	s.gen++
	a, _ := s.agent()
	s.asked = a != nil
	if a == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.stop = cancel
	s.search = s.Words()
	gen, every, search := s.gen, pace, api.ProcessSearch{Filter: s.search}
	if s.e.Blurred {
		every = blurredPace
	}
	return func() tea.Msg {
		err := a.WatchFigures(ctx, every, search, func(v gpu.Sample) error {
			s.e.Post(sampleMsg{s, gen, v})
			return ctx.Err()
		})
		return endedMsg{s, gen, err}
	}
}

// refilter lets the agent search for the words of the filter where they stay as they are.
func (s *Top) refilter() tea.Cmd {
	filter := s.Words()
	return s.e.Tick(settled, func(time.Time) tea.Msg { return searchMsg{s, filter} })
}

// fallback takes what the fleet knows, as long as the agent has sent nothing.
func (s *Top) fallback() {
	if s.own {
		return
	}
	if f := s.e.Store.Figures(s.id); f != nil && f.Known {
		s.sample, s.came = fromSummary(f), f.Seen()
		s.Keep(s.build)
	}
}

// Update implements screen.Screen.
func (s *Top) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case sampleMsg:
		if m.of == s && m.gen == s.gen {
			s.sample, s.own, s.came, s.err = &m.s, true, s.e.Now(), nil
			s.past.noBus = !hasBus(s.sample)
			s.Keep(s.build)
			s.past.add(s.sample)
			return s.fetch()
		}
	case endedMsg:
		if m.of != s || m.gen != s.gen {
			return nil
		}
		s.err = m.err
		gen := s.gen
		return s.e.Tick(retry, func(time.Time) tea.Msg { return againMsg{s, gen} })
	case againMsg:
		if m.of == s && m.gen == s.gen && s.ctx.Err() == nil {
			return s.watch()
		}
	case searchMsg:
		if m.of == s && m.filter == s.Words() && m.filter != s.search && s.asked {
			return s.watch()
		}
	case screen.Changed:
		s.resolve()
		if a, _ := s.agent(); a != nil && !s.asked {
			return s.watch()
		}
	case screen.Measured:
		s.fallback()
	case screen.Looked:
		if s.asked {
			return s.watch()
		}
	case pastMsg:
		if m.of == s {
			s.past.take(m)
		}
	case signalledMsg:
		if m.of == s {
			return m.toast()
		}
	case tea.KeyMsg:
		return tea.Batch(s.Type(m), s.refilter())
	}
	return nil
}

// current is the thing under the cursor, and whether there is one.
func (s *Top) current() (item, bool) {
	if s.page != overview {
		return s.of, true
	}
	if s.At < 0 || s.At >= len(s.items) {
		return item{}, false
	}
	return s.items[s.At], true
}

// find returns the place of a thing in the sample of now, or -1.
func (s *Top) find(k item) int {
	for _, x := range s.items {
		if x.same(k) {
			return x.index
		}
	}
	return -1
}

// old says why what is shown is not that of now; "" where it is.
func (s *Top) old() string {
	if s.sample == nil {
		return ""
	}
	f := s.e.Store.Figures(s.id)
	_, why := s.agent()
	switch {
	case why != "":
	case s.err != nil:
		why = s.err.Error()
	case f != nil && f.Silent != nil && !s.own:
		why = f.Why
	case s.own && !s.e.Blurred:
		if late := s.came.Add(late); s.e.Clock().Before(late) {
			s.e.ExpireAt(late)
			return ""
		}
		why = "nothing has come since"
	default:
		return ""
	}
	return "figures of " + s.ago(s.came) + ": " + why
}

// late is from when on a sample is not that of now any more.
const late = 8 * time.Second

func (s *Top) ago(t time.Time) string {
	a := s.e.Age(t)
	if a == "now" {
		if a = s.e.Elapsed(t); a == "" {
			return "just now"
		}
	}
	return a + " ago"
}

// Mouse implements screen.Mouser.
func (s *Top) Mouse(m tea.MouseMsg) tea.Cmd {
	if s.page == overview {
		return s.List.Mouse(m)
	}
	switch m.Button {
	case tea.MouseButtonWheelDown:
		return s.step(3)
	case tea.MouseButtonWheelUp:
		return s.step(-3)
	}
	return nil
}
