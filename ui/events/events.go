package events

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/form"
	"berth/ui/key"
	"berth/ui/screen"
)

// limit is how many recorded events are fetched.
const limit = 500

// Events is the screen.
type Events struct {
	e        *screen.Env
	instance string // only of this one; empty: all
	all      []api.Event
	rows     []api.Event // that pass the filter
	last     int64       // the newest sequence number in all
	at, top  int
	view     int
	follow   bool
	onlyBad  bool
	typing   bool
	in       form.Input
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
	s.in.Hint = "words"
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
func (s *Events) Title() string {
	if s.instance != "" {
		return "events of " + s.instance
	}
	return "events"
}

// Topic implements screen.Screen.
func (s *Events) Topic() string { return "events" }

// Typing implements screen.Typer.
func (s *Events) Typing() bool { return s.typing }

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
		if s.typing {
			var changed bool
			if s.typing, changed = s.in.Search(m); changed {
				s.filter()
			}
		}
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
		s.filter()
	}
	if n > 0 && s.follow {
		s.at = len(s.rows) - 1
	}
}

func (s *Events) passes(e api.Event) bool {
	if s.onlyBad && e.Level == "info" {
		return false
	}
	q := strings.ToLower(strings.TrimSpace(s.in.Value()))
	if q == "" {
		return true
	}
	q, not := strings.CutPrefix(q, "!")
	hay := strings.ToLower(e.Instance + " " + e.Kind + " " + e.Actor + " " + e.Level + " " + e.Message)
	for w := range strings.FieldsSeq(q) {
		if !strings.Contains(hay, w) {
			return not
		}
	}
	return !not
}

func (s *Events) filter() {
	var at int64
	if s.at >= 0 && s.at < len(s.rows) {
		at = s.rows[s.at].Seq
	}
	s.rows = nil
	for _, e := range s.all {
		if s.passes(e) {
			s.rows = append(s.rows, e)
		}
	}
	s.at, _ = slices.BinarySearchFunc(s.rows, at, func(e api.Event, q int64) int { return int(e.Seq - q) })
	if s.follow {
		s.at = len(s.rows) - 1
	}
	s.clamp()
}

func (s *Events) clamp() {
	s.at = max(0, min(s.at, len(s.rows)-1))
	n := max(1, s.view)
	if s.at < s.top {
		s.top = s.at
	}
	if s.at >= s.top+n {
		s.top = s.at - n + 1
	}
	s.top = max(0, min(s.top, len(s.rows)-n))
}

func (s *Events) move(n int) {
	s.at += n
	s.clamp()
	s.follow = s.at >= len(s.rows)-1
}

// Keys implements screen.Screen.
func (s *Events) Keys() []key.Binding {
	const look, move = "Looking", "Moving"
	step := func(n int) func() tea.Cmd { return func() tea.Cmd { s.move(n); return nil } }
	none := ""
	if len(s.rows) == 0 {
		none = "there is no event here"
	}
	bs := []key.Binding{
		{Keys: []string{"enter"}, Label: "instance", Group: look, Desc: "Show the instance that the event is about.",
			Why: none, Do: s.open},
		{Keys: []string{"y"}, Label: "copy", Group: look, Desc: "Copy the event.", Why: none, Do: func() tea.Cmd {
			e := s.rows[s.at]
			return s.e.Send(screen.Copy{What: "the event", Text: fmt.Sprintf("%s %s %s %s", e.Time.UTC().Format(time.RFC3339),
				e.Level, e.Instance, e.Message)})
		}},
		{Keys: []string{"/"}, Label: "filter", Group: look, Desc: "Show only what matches; ! for what does not.",
			Do: func() tea.Cmd { s.typing = true; return nil }},
		{Keys: []string{"w"}, Label: "warnings", Group: look, Desc: "Show only warnings and errors, or all.",
			Do: func() tea.Cmd { s.onlyBad = !s.onlyBad; s.filter(); return nil }},
		{Keys: []string{"f", "G", "end"}, Show: "G", Label: "follow", Group: look, Desc: "To the newest, and follow.",
			Do: step(1 << 30)},
		{Keys: []string{"c", "Y"}, Show: "c", Group: look, Desc: "Copy the command line that shows the same.",
			Do: func() tea.Cmd {
				return s.e.Send(screen.Copy{What: "the command line", Text: strings.TrimSpace("berth events "+s.instance) +
					" --follow"})
			}},
		{Keys: []string{"down", "j"}, Show: "↓ j", Group: move, Desc: "Down.", Do: step(1)},
		{Keys: []string{"up", "k"}, Show: "↑ k", Group: move, Desc: "Up.", Do: step(-1)},
		{Keys: []string{"g", "home"}, Show: "g", Group: move, Desc: "To the oldest.", Do: step(-1 << 30)},
		{Keys: []string{"pgdown", "ctrl+f"}, Show: "pgdn", Group: move, Desc: "A page down.",
			Do: func() tea.Cmd { s.move(s.view); return nil }},
		{Keys: []string{"pgup", "ctrl+b"}, Show: "pgup", Group: move, Desc: "A page up.",
			Do: func() tea.Cmd { s.move(-s.view); return nil }},
	}
	if s.in.Value() != "" {
		bs = append(bs, key.Binding{Keys: []string{"esc"}, Group: look, Desc: "Take the filter away.",
			Do: func() tea.Cmd { s.in.Set(""); s.filter(); return nil }})
	}
	return bs
}

func (s *Events) open() tea.Cmd {
	e := s.rows[s.at]
	if s.e.Store.Row(e.InstanceID) == nil {
		return screen.Warn("the instance of this event is gone")
	}
	return s.e.Send(screen.Open{Name: "detail", Arg: e.InstanceID})
}

// Mouse implements screen.Mouser.
func (s *Events) Mouse(m tea.MouseMsg) tea.Cmd {
	switch {
	case m.Button == tea.MouseButtonWheelDown:
		s.move(3)
	case m.Button == tea.MouseButtonWheelUp:
		s.move(-3)
	case m.Action == tea.MouseActionPress && m.Button == tea.MouseButtonLeft && s.top+m.Y < len(s.rows):
		s.at = s.top + m.Y
		s.move(0)
	}
	return nil
}
