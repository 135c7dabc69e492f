package events

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/backend/base/shellquote"
	"berth/ui/data"
	"berth/ui/key"
	"berth/ui/list"
	"berth/ui/screen"
)

// limit is how many recorded events are fetched.
const limit = 500

// Events is the screen.
type Events struct {
	e *screen.Env
	list.List
	instance string // only of this one; empty: all
	all      []api.Event
	rows     []api.Event // that pass the filter
	last     int64       // the newest sequence number in all
	match    func(name, hay string) bool
	follow   bool
	onlyBad  bool
	loaded   bool
	err      error
	ctx      context.Context
	cancel   context.CancelFunc
}

type loadedMsg struct {
	instance string
	events   []api.Event
	err      error
}

// New makes the screen; arg is an instance's name, or empty for all.
func New(e *screen.Env, arg string) screen.Screen {
	s := &Events{e: e, instance: arg, follow: true}
	s.ctx, s.cancel = context.WithCancel(e.Ctx)
	s.Begin(list.Of{Len: func() int { return len(s.rows) },
		ID:   func(i int) string { return strconv.FormatInt(s.rows[i].Seq, 10) },
		Find: s.find, Lay: s.filter, Went: s.went, Open: func() tea.Cmd { return s.open() }, Now: e.Now}, "")
	return s
}

// Close ends what the screen waits for.
func (s *Events) Close() { s.cancel() }

// Init implements screen.Screen.
func (s *Events) Init() tea.Cmd {
	return func() tea.Msg {
		ev, err := s.e.WS.Events(s.ctx, api.EventOptions{Instance: s.instance, Limit: limit})
		return loadedMsg{s.instance, ev, err}
	}
}

// Title implements screen.Screen.
func (s *Events) Title() string { return "events" }

// About implements screen.About.
func (s *Events) About() string { return s.instance }

// Topic implements screen.Screen.
func (s *Events) Topic() string { return "events" }

// Subjects implements screen.Subject: the instance of the event under the cursor.
func (s *Events) Subjects() []*data.Row {
	if i, ok := s.Row(); ok {
		if r := s.e.Store.Row(s.rows[i].InstanceID); r != nil {
			return []*data.Row{r}
		}
	}
	return nil
}

// Update implements screen.Screen.
func (s *Events) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case loadedMsg:
		if m.instance == s.instance {
			s.loaded, s.err = true, m.err
			s.add(m.events)
			s.take()
		}
	case screen.Changed:
		s.take()
	case tea.KeyMsg:
		return s.Type(m)
	}
	return nil
}

// take adds what the stream brought since.
func (s *Events) take() {
	if !s.loaded {
		return
	}
	live := s.e.Store.Events()
	i := len(live)
	for i > 0 && live[i-1].Seq > s.last {
		i--
	}
	s.add(live[i:])
}

func (s *Events) add(evs []api.Event) {
	n := 0
	for _, e := range evs {
		if e.Seq <= s.last || s.instance != "" && !strings.EqualFold(e.Instance, s.instance) {
			continue
		}
		s.last = e.Seq
		s.all = append(s.all, e)
		if s.passes(e) {
			s.rows = append(s.rows, e)
		}
		n++
	}
	if extra := len(s.all) - 4*limit; extra > limit {
		s.all = slices.Clone(s.all[extra:])
		s.Keep(s.filter)
	}
	if n > 0 && s.follow {
		s.At = max(0, len(s.rows)-1)
	}
}

func (s *Events) passes(e api.Event) bool {
	if s.onlyBad && e.Level == "info" {
		return false
	}
	return s.match == nil || s.match(e.Instance, e.Instance+" "+e.Kind+" "+e.Actor+" "+e.Level+" "+e.Message)
}

func (s *Events) filter() {
	s.match = list.Match(s.Words())
	s.rows = nil
	for _, e := range s.all {
		if s.passes(e) {
			s.rows = append(s.rows, e)
		}
	}
	if s.follow {
		s.At = max(0, len(s.rows)-1)
	}
}

// find returns where an event stands, or where it would.
func (s *Events) find(id string) int {
	seq, _ := strconv.ParseInt(id, 10, 64)
	if s.follow {
		return len(s.rows) - 1
	}
	i, _ := slices.BinarySearchFunc(s.rows, seq, func(e api.Event, q int64) int { return cmp.Compare(e.Seq, q) })
	return min(i, len(s.rows)-1)
}

// went follows the newest event when the cursor is put on it.
func (s *Events) went(int) tea.Cmd {
	s.follow = s.At >= len(s.rows)-1
	return nil
}

// Keys implements screen.Screen.
func (s *Events) Keys() []key.Binding {
	if s.Typing() {
		return s.List.Keys()
	}
	none := ""
	if len(s.rows) == 0 {
		none = "there is no event here"
	}
	toggle := func() tea.Cmd { s.onlyBad = !s.onlyBad; s.Keep(s.filter); return nil }
	bs := []key.Binding{
		key.Of("enter", none, s.open).As("open").Saying("Show the instance that the event is about."),
		{Keys: []string{"."}, Label: "warnings", Group: key.Looking, Desc: "Show only warnings and errors, or all.",
			Do: toggle},
		key.Of("y", none, func() tea.Cmd {
			e := s.rows[s.At]
			return s.e.Send(screen.Copy{What: "the event", Text: fmt.Sprintf("%s %s %s %s", e.Time.UTC().Format(time.RFC3339),
				e.Level, e.Instance, e.Message)})
		}).As("copy").Saying("Copy the event."),
		key.Of("c", "", func() tea.Cmd {
			line := []string{"berth", "events"}
			if s.instance != "" {
				line = append(line, s.instance)
			}
			return s.e.Send(screen.Copy{What: "the command line", Text: shellquote.Line(append(line, "--follow")...)})
		}),
	}
	for _, b := range s.List.Keys() {
		if b.Keys[0] == "G" {
			b = b.As("follow").Saying("To the newest, and follow.")
		}
		bs = append(bs, b)
	}
	if s.onlyBad && !s.Narrowed() {
		bs = append(bs, key.Of("esc", "", toggle).As("clear").Saying("As it was before."))
	}
	return bs
}

func (s *Events) open() tea.Cmd {
	e := s.rows[s.At]
	if s.e.Store.Row(e.InstanceID) == nil {
		return screen.Warn("the instance of this event is gone")
	}
	return s.e.Send(screen.Open{Name: "detail", Arg: e.InstanceID})
}
