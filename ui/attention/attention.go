package attention

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/gpu"
	"berth/ui/action"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/form"
	"berth/ui/key"
	"berth/ui/screen"
)

// finding is one line.
type finding struct {
	id  string // of the instance
	ref string
	a   api.Attention
}

// Attention is the screen.
type Attention struct {
	e       *screen.Env
	rows    []finding
	hidden  int // acknowledged or muted ones that are not shown
	all     bool
	at, top int
	view    int
	typing  bool
	in      form.Input
	ctx     context.Context
	cancel  context.CancelFunc
}

type attendedMsg struct {
	of  *Attention
	f   finding
	r   api.AttentionRequest
	err error
}

// New makes the screen; arg is a filter.
func New(e *screen.Env, arg string) screen.Screen {
	s := &Attention{e: e}
	s.ctx, s.cancel = context.WithCancel(e.Ctx)
	s.in.Hint = "words, !not"
	s.in.Set(arg)
	s.build()
	return s
}

// Close ends what the screen waits for.
func (s *Attention) Close() { s.cancel() }

// Init implements screen.Screen.
func (s *Attention) Init() tea.Cmd { return nil }

// Title implements screen.Screen.
func (s *Attention) Title() string { return "attention" }

// Topic implements screen.Screen.
func (s *Attention) Topic() string { return "attention" }

// Typing implements screen.Typer.
func (s *Attention) Typing() bool { return s.typing }

// Subjects implements screen.Subject.
func (s *Attention) Subjects() []*data.Row {
	if s.at < len(s.rows) {
		if r := s.e.Store.Row(s.rows[s.at].id); r != nil {
			return []*data.Row{r}
		}
	}
	return nil
}

// build lists the findings of the store and keeps the cursor on its one.
func (s *Attention) build() {
	var was finding
	if s.at < len(s.rows) {
		was = s.rows[s.at]
	}
	match := gpu.Words(s.in.Value())
	now := s.e.Now()
	s.rows, s.hidden = s.rows[:0], 0
	s.e.Store.Each(func(r *data.Row) {
		f := s.e.Store.Figures(r.ID)
		if f == nil {
			return
		}
		for _, a := range f.Attention {
			if match != nil && !match(r.Name+" "+a.Rule+" "+a.Severity+" "+a.Subject+" "+a.Text) {
				continue
			}
			if !data.Active(a, now) {
				if s.hidden++; !s.all {
					continue
				}
			}
			s.rows = append(s.rows, finding{r.ID, s.e.Store.Ref(r), a})
		}
	})
	slices.SortFunc(s.rows, func(a, b finding) int {
		return cmp.Or(cmp.Compare(quiet(a, now), quiet(b, now)), cmp.Compare(data.Rank(b.a.Severity),
			data.Rank(a.a.Severity)), b.a.Since.Compare(a.a.Since), strings.Compare(a.ref, b.ref), strings.Compare(a.a.ID,
			b.a.ID))
	})
	for i, f := range s.rows {
		if f.id == was.id && f.a.ID == was.a.ID {
			s.at = i
		}
	}
	s.at = max(0, min(s.at, len(s.rows)-1))
}

// quiet puts what nobody needs to look at any more last.
func quiet(f finding, now time.Time) int {
	if data.Active(f.a, now) {
		return 0
	}
	return 1
}

// Update implements screen.Screen.
func (s *Attention) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case screen.Changed, screen.Measured:
		s.build()
	case attendedMsg:
		if m.of != s {
			return nil
		}
		if m.err != nil {
			return screen.Send(screen.Toast{Level: "error", Text: api.AsError(m.err).Message})
		}
		s.e.Store.Attended(m.f.id, m.r, s.e.Now())
		s.build()
		return screen.Info(said(m))
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

// said tells what was done.
func said(m attendedMsg) string {
	what := m.f.ref + ", " + m.f.a.Subject + ": "
	switch {
	case m.r.MuteSeconds > 0:
		return what + "its rule is quiet for " + (time.Duration(m.r.MuteSeconds) * time.Second).String()
	case m.r.Acknowledge:
		return what + "acknowledged until it comes again"
	}
	return what + "shown again"
}

// attend tells the service what somebody says of a finding.
func (s *Attention) attend(f finding, r api.AttentionRequest) tea.Cmd {
	r.Finding = f.a.ID
	return func() tea.Msg { return attendedMsg{s, f, r, s.e.WS.Attend(s.ctx, f.ref, r)} }
}

// mutes are for how long a rule can be kept quiet.
var mutes = []struct {
	name string
	d    time.Duration
}{{"1 hour", time.Hour}, {"8 hours", 8 * time.Hour}, {"1 day", 24 * time.Hour}, {"1 week", 7 * 24 * time.Hour},
	{"30 days", 30 * 24 * time.Hour}}

func (s *Attention) mute() tea.Cmd {
	f := s.rows[s.at]
	m := &dialog.Menu{Title: "Keep " + f.a.Rule + " quiet on " + f.ref}
	if f.a.MutedUntil != nil {
		m.Items = append(m.Items, dialog.Item{Label: "not any more", Detail: "show it again",
			Do: s.attend(f, api.AttentionRequest{})})
	}
	for _, x := range mutes {
		m.Items = append(m.Items, dialog.Item{Label: x.name,
			Do: s.attend(f, api.AttentionRequest{MuteSeconds: x.d.Seconds()})})
	}
	return s.e.Send(screen.Show{Dialog: m})
}

func (s *Attention) move(n int) { s.at = max(0, min(s.at+n, len(s.rows)-1)) }

// Keys implements screen.Screen.
func (s *Attention) Keys() []key.Binding {
	const look, move, acts = "Looking", "Moving", "Acting"
	none := ""
	if len(s.rows) == 0 {
		none = "nothing wants attention"
	}
	ro := none
	if ro == "" && s.e.ReadOnly {
		ro = "read-only: nothing is changed from here (R switches it off)"
	}
	ack := "acknowledge"
	if none == "" && s.rows[s.at].a.Acknowledged {
		ack = "take back"
	}
	open := func(name string) func() tea.Cmd {
		return func() tea.Cmd { return s.e.Send(screen.Open{Name: name, Arg: s.rows[s.at].id}) }
	}
	step := func(n int) func() tea.Cmd { return func() tea.Cmd { s.move(n); return nil } }
	bs := []key.Binding{
		{Keys: []string{"enter"}, Label: "open", Group: acts, Desc: "Show the instance that the finding is about.", Why: none,
			Do: open("detail")},
		{Keys: []string{"f"}, Label: "figures", Group: acts, Desc: "Its GPUs, processes, disks and their history, live.",
			Why: none, Do: open("top")},
		{Keys: []string{"a"}, Label: ack, Group: acts, Desc: "Hide it until it goes and comes again, or take that back.",
			Why: ro, Do: func() tea.Cmd {
				f := s.rows[s.at]
				return s.attend(f, api.AttentionRequest{Acknowledge: !f.a.Acknowledged})
			}},
		{Keys: []string{"m"}, Label: "mute", Group: acts, Desc: "Keep its rule quiet on this instance for a while.", Why: ro,
			Do: s.mute},
		{Keys: []string{"w"}, Label: "all", Group: look, Desc: "Show those that were acknowledged or muted too, or not.",
			Do: func() tea.Cmd { s.all = !s.all; s.build(); return nil }},
		{Keys: []string{"/"}, Label: "filter", Group: look, Desc: "Show only what matches; ! for what does not.",
			Do: func() tea.Cmd { s.typing = true; return nil }},
		{Keys: []string{"y"}, Label: "copy", Group: look, Desc: "Copy the finding.", Why: none, Do: func() tea.Cmd {
			f := s.rows[s.at]
			return s.e.Send(screen.Copy{What: "the finding", Text: f.ref + ": " + f.a.Subject + ": " + f.a.Text})
		}},
		{Keys: []string{"t"}, Group: acts, Desc: "Give this terminal to a shell on the instance; enter ~ . comes back.",
			Why: none, Do: func() tea.Cmd {
				if r := s.Subjects(); len(r) > 0 {
					if why := action.Why(s.e, r[0], action.Shell); why != "" {
						return screen.Warn(why)
					}
				}
				return action.Do(s.e, action.Shell, s.Subjects())
			}},
		{Keys: []string{"down", "j"}, Show: "↓ j", Group: move, Desc: "Down.", Do: step(1)},
		{Keys: []string{"up", "k"}, Show: "↑ k", Group: move, Desc: "Up.", Do: step(-1)},
		{Keys: []string{"g", "home"}, Show: "g", Group: move, Desc: "To the worst.", Do: step(-1 << 30)},
		{Keys: []string{"G", "end"}, Show: "G", Group: move, Desc: "To the end.", Do: step(1 << 30)},
		{Keys: []string{"pgdown", "ctrl+f"}, Show: "pgdn", Group: move, Desc: "A page down.",
			Do: func() tea.Cmd { s.move(max(1, s.view)); return nil }},
		{Keys: []string{"pgup", "ctrl+b"}, Show: "pgup", Group: move, Desc: "A page up.",
			Do: func() tea.Cmd { s.move(-max(1, s.view)); return nil }},
	}
	if s.in.Value() != "" || s.all {
		bs = append(bs, key.Binding{Keys: []string{"esc"}, Group: look, Desc: "Take the filter away.",
			Do: func() tea.Cmd { s.in.Set(""); s.all = false; s.build(); return nil }})
	}
	return bs
}

// Mouse implements screen.Mouser.
func (s *Attention) Mouse(m tea.MouseMsg) tea.Cmd {
	switch {
	case m.Button == tea.MouseButtonWheelDown:
		s.move(3)
	case m.Button == tea.MouseButtonWheelUp:
		s.move(-3)
	case m.Action == tea.MouseActionPress && m.Button == tea.MouseButtonLeft && m.Y > 0 && m.Y <= s.view &&
		s.top+m.Y-1 < len(s.rows):
		s.at = s.top + m.Y - 1
	}
	return nil
}
