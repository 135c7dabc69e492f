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
	"berth/ui/form"
	"berth/ui/key"
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
	e        *screen.Env
	tiles    []tile
	at, top  int // top is the first column in view
	per      int // tiles in a column, of the last frame
	cols     int // columns in view
	wide     int // the width of a tile
	order    int
	sortedAt time.Time
	typing   bool
	in       form.Input
}

// New makes the screen; arg is a filter.
func New(e *screen.Env, arg string) screen.Screen {
	s := &Wall{e: e, per: 1, cols: 1}
	s.in.Hint = "words, !not"
	s.in.Set(arg)
	s.build()
	return s
}

// Init implements screen.Screen.
func (s *Wall) Init() tea.Cmd { return nil }

// Title implements screen.Screen.
func (s *Wall) Title() string { return "wall" }

// Topic implements screen.Screen.
func (s *Wall) Topic() string { return "top" } // its last part

// Typing implements screen.Typer.
func (s *Wall) Typing() bool { return s.typing }

// Subjects implements screen.Subject.
func (s *Wall) Subjects() []*data.Row {
	if s.at < len(s.tiles) {
		if r := s.e.Store.Row(s.tiles[s.at].id); r != nil {
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

// build lists the GPUs in order and keeps the cursor on its one.
func (s *Wall) build() {
	now := s.e.Now()
	s.sortedAt = now
	var was tile
	has := s.at < len(s.tiles)
	if has {
		was = s.tiles[s.at]
	}
	match := gpu.Words(s.in.Value())
	s.tiles = s.tiles[:0]
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
			t := tile{id: r.ID, name: r.Name, index: g.Index, class: s.classify(r, f, g, now), load: -1}
			if g.Utilization != nil {
				t.load = *g.Utilization
			}
			if match != nil && !match(r.Haystack()+g.Name+" "+g.User+" "+classWords[t.class]) {
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
		switch orders[s.order] {
		case "attention":
			c = cmp.Compare(a.class, b.class)
		case "load":
			c = cmp.Or(cmp.Compare(later(a), later(b)), cmp.Compare(b.load, a.load))
		case "idle":
			c = cmp.Or(cmp.Compare(later(a), later(b)), cmp.Compare(a.load, b.load))
		}
		return cmp.Or(c, byName(a, b))
	})
	for i, t := range s.tiles {
		if has && t.id == was.id && t.index == was.index {
			s.at = i
		}
	}
	s.at = max(0, min(s.at, len(s.tiles)-1))
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
		s.build()
	case screen.Measured:
		if len(s.tiles) == 0 || s.e.Now().Sub(s.sortedAt) >= resort {
			s.build()
		}
	case tea.KeyMsg:
		if s.typing {
			var changed bool
			if s.typing, changed = s.in.Search(m); changed {
				s.build()
			}
		}
	}
	return nil
}

func (s *Wall) move(n int) { s.at = max(0, min(s.at+n, len(s.tiles)-1)) }

// Keys implements screen.Screen.
func (s *Wall) Keys() []key.Binding {
	const look, move = "Looking", "Moving"
	none := ""
	if len(s.tiles) == 0 {
		none = "there is no GPU here"
	}
	step := func(n int) func() tea.Cmd { return func() tea.Cmd { s.move(n); return nil } }
	bs := []key.Binding{
		{Keys: []string{"enter", "f"}, Show: "enter", Label: "figures", Group: look,
			Desc: "Everything that is measured on the GPU's instance.", Why: none, Do: func() tea.Cmd {
				t := s.tiles[s.at]
				return s.e.Send(screen.Open{Name: "top", Arg: fmt.Sprintf("%s %d", t.id, s.place(t))})
			}},
		{Keys: []string{"d"}, Label: "instance", Group: look, Desc: "Show the instance of the GPU.", Why: none,
			Do: func() tea.Cmd { return s.e.Send(screen.Open{Name: "detail", Arg: s.tiles[s.at].id}) }},
		{Keys: []string{"/"}, Label: "filter", Group: look,
			Desc: "Show only what matches: names, kinds, users, states; ! for what does not.",
			Do:   func() tea.Cmd { s.typing = true; return nil }},
		{Keys: []string{"o"}, Label: "sort", Group: look, Desc: "Sort by what wants attention, name, load, or idleness.",
			Do: func() tea.Cmd { s.order = (s.order + 1) % len(orders); s.build(); return nil }},
		{Keys: []string{"down", "j"}, Show: "↓ j", Group: move, Desc: "Down.", Do: step(1)},
		{Keys: []string{"up", "k"}, Show: "↑ k", Group: move, Desc: "Up.", Do: step(-1)},
		{Keys: []string{"right", "l"}, Show: "→ l", Group: move, Desc: "A column to the right.",
			Do: func() tea.Cmd { s.move(s.per); return nil }},
		{Keys: []string{"left", "h"}, Show: "← h", Group: move, Desc: "A column to the left.",
			Do: func() tea.Cmd { s.move(-s.per); return nil }},
		{Keys: []string{"g", "home"}, Show: "g", Group: move, Desc: "To the first.", Do: step(-1 << 30)},
		{Keys: []string{"G", "end"}, Show: "G", Group: move, Desc: "To the last.", Do: step(1 << 30)},
		{Keys: []string{"pgdown", "ctrl+f"}, Show: "pgdn", Group: move, Desc: "A screen on.",
			Do: func() tea.Cmd { s.move(s.per * s.cols); return nil }},
		{Keys: []string{"pgup", "ctrl+b"}, Show: "pgup", Group: move, Desc: "A screen back.",
			Do: func() tea.Cmd { s.move(-s.per * s.cols); return nil }},
	}
	if s.in.Value() != "" {
		bs = append(bs, key.Binding{Keys: []string{"esc"}, Group: look, Desc: "Take the filter away.",
			Do: func() tea.Cmd { s.in.Set(""); s.build(); return nil }})
	}
	return bs
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

// Mouse implements screen.Mouser.
func (s *Wall) Mouse(m tea.MouseMsg) tea.Cmd {
	switch {
	case m.Button == tea.MouseButtonWheelDown:
		s.move(3)
	case m.Button == tea.MouseButtonWheelUp:
		s.move(-3)
	case m.Action == tea.MouseActionPress && m.Button == tea.MouseButtonLeft && m.Y >= head && m.Y < head+s.per:
		if i := (s.top+m.X/max(1, s.width()))*s.per + m.Y - head; i < len(s.tiles) && m.X/max(1, s.width()) < s.cols {
			s.at = i
		}
	}
	return nil
}
