package wall

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/gpu"
	"berth/ui/data"
	"berth/ui/key"
	"berth/ui/list"
	"berth/ui/screen"
	"berth/ui/text"
)

// resort is how often at most the order follows the figures.
const resort = 5 * time.Second

// tile is one GPU.
type tile struct {
	id, name string // of the instance
	index    int
	class    int     // what wants attention first: see the constants
	load     float64 // utilisation; -1: not known
}

// The classes, in the order in which they stand.
const (
	lost = iota
	critical
	hot
	wasted // paid for, and idle for long
	warned
	unknown
	busy
	idle
	old // its figures are not those of now
)

// orders are the ways to sort.
var orders = []string{"attention", "name", "load", "idle"}

// Wall is the screen.
type Wall struct {
	e *screen.Env
	list.List
	tiles    []tile
	top      int  // the first column in view
	per      int  // tiles in a column, of the last frame
	cols     int  // columns in view
	wide     int  // the width of a tile
	name     int  // of that, of the name
	held     bool // it is known of some GPU who has it
	sortedAt time.Time
}

// New makes the screen; arg is a filter.
func New(e *screen.Env, arg string) screen.Screen {
	s := &Wall{e: e, per: 1, cols: 1}
	s.Begin(list.Of{Len: func() int { return len(s.tiles) }, ID: func(i int) string {
		return fmt.Sprintf("%s %d", s.tiles[i].id, s.tiles[i].index)
	}, Lay: s.build, By: func() []string { return orders }, Tall: func() int { return s.per }, Now: e.Now,
		Open: func() tea.Cmd { return s.figures() }}, arg)
	s.build()
	return s
}

// Init implements screen.Screen.
func (s *Wall) Init() tea.Cmd { return nil }

// Title implements screen.Screen.
func (s *Wall) Title() string { return "wall" }

// Topic implements screen.Screen.
func (s *Wall) Topic() string { return "top" } // its last part

// Subjects implements screen.Subject.
func (s *Wall) Subjects() []*data.Row {
	if s.At < len(s.tiles) {
		if r := s.e.Store.Row(s.tiles[s.At].id); r != nil {
			return []*data.Row{r}
		}
	}
	return nil
}

// classify says what a GPU is among.
func (s *Wall) classify(r *data.Row, f *data.Figures, g *gpu.GPUSummary, now time.Time) int {
	switch {
	case !s.e.Store.Live(r, f) || f.Stale:
		return old
	case g.Error != "":
		return lost
	case g.XID != 0:
		return critical
	}
	worst, paid := 0, false
	for _, a := range f.Attention {
		paid = paid || a.Rule == gpu.IdleRule // a fact, also where somebody has seen it
		if data.Active(a, now) && about(a.Subject, g.Index) {
			worst = max(worst, data.Rank(a.Severity))
		}
	}
	switch {
	case worst == 3:
		return critical
	case g.Throttled:
		return hot
	case paid:
		return wasted
	case worst == 2:
		return warned
	case g.Utilization == nil:
		return unknown
	case *g.Utilization >= gpu.BusyPercent:
		return busy
	}
	return idle
}

// about reports whether a finding's subject is a GPU with this index.
func about(subject string, index int) bool { return subject == fmt.Sprintf("GPU %d", index) }

// build lists the GPUs in order.
func (s *Wall) build() {
	now := s.e.Now()
	s.sortedAt = now
	match := list.Match(s.Words())
	s.tiles, s.held = s.tiles[:0], false
	owner := map[string]string{} // of GPUs that instances on one host share: the first by name has them here
	s.e.Store.Each(func(r *data.Row) {
		if f := s.e.Store.Figures(r.ID); f != nil && f.Known {
			for i := range f.GPUs {
				if id := f.GPUs[i].ID; id != "" && (owner[id] == "" || r.Name+r.ID < owner[id]) {
					owner[id] = r.Name + r.ID
				}
			}
		}
	})
	s.e.Store.Each(func(r *data.Row) {
		f := s.e.Store.Figures(r.ID)
		if f == nil || !f.Known {
			return
		}
		for i := range f.GPUs {
			g := &f.GPUs[i]
			if g.ID != "" && owner[g.ID] != r.Name+r.ID {
				continue
			}
			t := tile{id: r.ID, name: s.e.Store.Ref(r), index: g.Index, class: s.classify(r, f, g, now), load: -1}
			if g.Utilization != nil {
				t.load = *g.Utilization
			}
			s.held = s.held || holder(g) != ""
			if match != nil && !match(r.Name, r.Haystack()+g.Name+" "+g.User+" "+g.Held+" "+g.Next+" "+classWords[t.class]) {
				continue
			}
			s.tiles = append(s.tiles, t)
		}
	})
	byName := func(a, b tile) int {
		return cmp.Or(text.Natural(a.name, b.name), strings.Compare(a.id, b.id), cmp.Compare(a.index, b.index))
	}
	slices.SortFunc(s.tiles, func(a, b tile) int {
		c := 0
		switch s.Sort {
		case "attention":
			c = cmp.Compare(a.class, b.class)
		case "load":
			c = cmp.Or(cmp.Compare(later(a), later(b)), cmp.Compare(b.load, a.load))
		case "idle":
			c = cmp.Or(cmp.Compare(later(a), later(b)), cmp.Compare(a.load, b.load))
		}
		if c = cmp.Or(c, byName(a, b)); s.Down {
			return -c
		}
		return c
	})
}

// later puts what is not measured now behind all else.
func later(t tile) int {
	if t.class == old || t.load < 0 {
		return 1
	}
	return 0
}

// Update implements screen.Screen.
func (s *Wall) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case screen.Changed:
		s.Keep(s.build)
	case screen.Measured:
		if len(s.tiles) == 0 || s.e.Now().Sub(s.sortedAt) >= resort {
			s.Keep(s.build)
		}
	case tea.KeyMsg:
		return s.Type(m)
	}
	return nil
}

// figures shows everything that is measured on the GPU's instance, with the cursor on the GPU.
func (s *Wall) figures() tea.Cmd {
	t := s.tiles[s.At]
	return s.e.Send(screen.Open{Name: "top", Arg: fmt.Sprintf("%s %d", t.id, s.place(t))})
}

// Keys implements screen.Screen.
func (s *Wall) Keys() []key.Binding {
	if s.Typing() {
		return s.List.Keys()
	}
	none := ""
	if len(s.tiles) == 0 {
		none = "there is no GPU here"
	}
	bs := []key.Binding{
		key.Of("enter", none, func() tea.Cmd {
			return s.e.Send(screen.Open{Name: "detail", Arg: s.tiles[s.At].id})
		}).As("open").Saying("Show the instance of the GPU."),
		key.Of("f", none, s.figures).As("figures"),
	}
	return append(bs, s.List.Keys()...)
}

// place is where a GPU stands in its instance's list.
func (s *Wall) place(t tile) int {
	if f := s.e.Store.Figures(t.id); f != nil {
		for i := range f.GPUs {
			if f.GPUs[i].Index == t.index {
				return i
			}
		}
	}
	return 0
}
