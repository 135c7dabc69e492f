package attention

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/action"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/key"
	"berth/ui/list"
	"berth/ui/screen"
	"berth/ui/text"
)

// finding is one line.
type finding struct {
	id   string // of the instance
	ref  string
	refs []string // where several instances on one host find the same: all of them
	a    api.Attention
}

// all are the instances that a finding is of.
func (f *finding) all() []string {
	if len(f.refs) > 0 {
		return f.refs
	}
	return []string{f.ref}
}

// of names the instances that a finding is of.
func (f *finding) of() string { return strings.Join(f.all(), ", ") }

// brief names at most two of them.
func (f *finding) brief() string {
	if all := f.all(); len(all) > 2 {
		return fmt.Sprintf("%s, %s and %d more", all[0], all[1], len(all)-2)
	}
	return f.of()
}

// Attention is the screen.
type Attention struct {
	e *screen.Env
	list.List
	rows   []finding
	hidden int // acknowledged or muted ones that are not shown
	all    bool
	ctx    context.Context
	cancel context.CancelFunc
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
	s.Begin(list.Of{Len: func() int { return len(s.rows) },
		ID:  func(i int) string { return s.rows[i].a.About(s.rows[i].id) },
		Lay: s.build, By: func() []string { return orders }, Open: func() tea.Cmd { return s.open() }, Now: e.Now,
		Marking: true}, arg)
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

// Subjects implements screen.Subject.
func (s *Attention) Subjects() []*data.Row {
	var out []*data.Row
	for _, i := range s.Marked() {
		if r := s.e.Store.Row(s.rows[i].id); r != nil && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

// with is a finding that another instance on the same host has too: that of the first of them.
func (f finding) with(other finding) finding {
	refs := slices.Concat(f.all(), other.all())
	slices.SortFunc(refs, text.Natural)
	if text.Natural(other.ref, f.ref) < 0 {
		f, other = other, f
	}
	if f.refs = refs; other.a.Since.Before(f.a.Since) {
		f.a.Since = other.a.Since
	}
	return f
}

// orders are the ways to sort.
var orders = []string{"severity", "since", "instance", "subject"}

// build lists the findings of the store.
func (s *Attention) build() {
	match := list.Match(s.Words())
	now := s.e.Now()
	s.rows = s.rows[:0]
	at, hidden := map[string]int{}, map[string]bool{} // by what a finding is about
	s.e.Store.Each(func(r *data.Row) {
		f := s.e.Store.Figures(r.ID)
		if f == nil {
			return
		}
		for _, a := range f.Attention {
			if match != nil && !match(r.Name, r.Name+" "+a.Rule+" "+a.Severity+" "+a.Subject+" "+a.Text) {
				continue
			}
			about := a.About(r.ID)
			if !data.Active(a, now) {
				if hidden[about] = true; !s.all {
					continue
				}
			}
			x := finding{r.ID, s.e.Store.Ref(r), nil, a}
			if i, ok := at[about]; ok {
				s.rows[i] = s.rows[i].with(x)
				continue
			}
			at[about] = len(s.rows)
			s.rows = append(s.rows, x)
		}
	})
	s.hidden = len(hidden)
	slices.SortFunc(s.rows, func(a, b finding) int {
		since, ref := b.a.Since.Compare(a.a.Since), text.Natural(a.ref, b.ref)
		worst, subject := cmp.Compare(data.Rank(b.a.Severity), data.Rank(a.a.Severity)),
			text.Natural(a.a.Subject, b.a.Subject)
		c := 0
		switch s.Sort {
		case "since":
			c = since
		case "instance":
			c = ref
		case "subject":
			c = subject
		default:
			c = worst
		}
		if s.Down {
			c = -c
		}
		return cmp.Or(cmp.Compare(quiet(a, now), quiet(b, now)), c, worst, since, ref, strings.Compare(a.a.ID, b.a.ID))
	})
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
		s.Keep(s.build)
	case attendedMsg:
		if m.of != s {
			return nil
		}
		if m.err != nil {
			return screen.Send(screen.Toast{Level: "error", Text: api.AsError(m.err).Message})
		}
		s.e.Store.Attended(m.f.id, m.r, s.e.Now())
		s.Keep(s.build)
		return screen.Info(said(m))
	case tea.KeyMsg:
		return s.Type(m)
	}
	return nil
}

// said tells what was done.
func said(m attendedMsg) string {
	what := m.f.of() + ", " + m.f.a.Subject + ": "
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

func (s *Attention) mute(of []finding) tea.Cmd {
	m := &dialog.Menu{Title: "Keep " + of[0].a.Rule + " quiet on " + of[0].of()}
	if len(of) > 1 {
		m.Title = fmt.Sprintf("Keep the rules of %d findings quiet", len(of))
	}
	item := func(label, detail string, r api.AttentionRequest) {
		m.Items = append(m.Items, dialog.Item{Label: label, Detail: detail, Do: s.attendAll(of, r)})
	}
	if of[0].a.MutedUntil != nil {
		item("not any more", "show it again", api.AttentionRequest{})
	}
	for _, x := range mutes {
		item(x.name, "", api.AttentionRequest{MuteSeconds: x.d.Seconds()})
	}
	return s.e.Send(screen.Show{Dialog: m})
}

func (s *Attention) attendAll(of []finding, r api.AttentionRequest) tea.Cmd {
	var cmds []tea.Cmd
	for _, f := range of {
		cmds = append(cmds, s.attend(f, r))
	}
	return tea.Batch(cmds...)
}

func (s *Attention) open() tea.Cmd {
	return s.e.Send(screen.Open{Name: "detail", Arg: s.rows[s.At].id})
}

// Keys implements screen.Screen.
func (s *Attention) Keys() []key.Binding {
	if s.Typing() {
		return s.List.Keys()
	}
	var of []finding // the marked ones, or the one under the cursor
	for _, i := range s.Marked() {
		of = append(of, s.rows[i])
	}
	none := ""
	if len(of) == 0 {
		none = "nothing wants attention"
	}
	ro := none
	if ro == "" && s.e.ReadOnly {
		ro = action.ReadOnly
	}
	ack := "acknowledge"
	if none == "" && of[0].a.Acknowledged {
		ack = "take back"
	}
	toggle := func() tea.Cmd { s.all = !s.all; s.Keep(s.build); return nil }
	bs := []key.Binding{
		key.Of("enter", none, s.open).As("open").Saying("Show the instance that the finding is about."),
		{Keys: []string{"a"}, Label: ack, Group: key.Looking, Desc: "Hide it until it goes and comes again, or take that back.",
			Why: ro, Do: func() tea.Cmd {
				return s.attendAll(of, api.AttentionRequest{Acknowledge: !of[0].a.Acknowledged})
			}},
		{Keys: []string{"m"}, Label: "mute", Group: key.Looking, Desc: "Keep its rule quiet on this instance for a while.",
			Why: ro, Do: func() tea.Cmd { return s.mute(of) }},
		{Keys: []string{"."}, Label: "all", Group: key.Looking,
			Desc: "Show those that were acknowledged or muted too, or not.",
			Do:   toggle},
		key.Of("y", none, func() tea.Cmd {
			f := s.rows[s.At]
			return s.e.Send(screen.Copy{What: "the finding", Text: f.of() + ": " + f.a.Subject + ": " + f.a.Text})
		}).As("copy").Saying("Copy the finding."),
	}
	if s.all && !s.Narrowed() {
		bs = append(bs, key.Of("esc", "", toggle).As("clear").Saying("As it was before."))
	}
	return append(bs, s.List.Keys()...)
}
