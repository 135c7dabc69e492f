package queue

import (
	"context"
	"fmt"
	"slices"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/backend/base/shellquote"
	"berth/ui/data"
	"berth/ui/job"
	"berth/ui/key"
	"berth/ui/list"
	"berth/ui/ports"
	"berth/ui/screen"
	"berth/ui/text"
)

// mostInstances bounds how many instances are asked for the fleet's queue: each costs a request that stays open.
const mostInstances = 200

// Queue is the screen.
type Queue struct {
	e *screen.Env
	list.List
	id, name string // of the instance; empty: the fleet
	sources  []*source
	left     int // instances that are not asked: there are too many
	rows     []row
	counts   [sections]int
	trends   trends
	news     int             // rows that have ended since the queue was seen last
	unfolded map[string]bool // arrays
	onlyLive bool
	ctx      context.Context
	cancel   context.CancelFunc
}

// New makes the screen; arg is an instance's id, or empty for the fleet.
func New(e *screen.Env, arg string) screen.Screen {
	s := &Queue{e: e, id: arg, name: arg, unfolded: map[string]bool{}}
	if r := e.Store.Row(arg); r != nil {
		s.name = r.Name
	}
	s.ctx, s.cancel = context.WithCancel(e.Ctx)
	s.Begin(list.Of{Len: func() int { return len(s.rows) }, ID: func(i int) string { return s.rows[i].id() },
		Skip: func(i int) bool { return s.rows[i].job == nil }, Lay: s.lay, Marking: true, Went: s.went,
		Open: func() tea.Cmd { return s.open() }, Now: e.Now}, "")
	return s
}

// Close ends what the screen waits for.
func (s *Queue) Close() {
	s.cancel()
	if s.e.Seen != nil {
		if err := s.e.Seen.Write(); err != nil {
			s.e.Send(screen.Toast{Level: "warning", Text: err.Error()})
		}
	}
}

// Init implements screen.Screen.
func (s *Queue) Init() tea.Cmd { return s.attend() }

// attend has the sources be those of the instances that there are, and asks those that are new or can be asked now.
func (s *Queue) attend() tea.Cmd {
	var rows []*data.Row
	if s.id != "" {
		if r := s.e.Store.Row(s.id); r != nil {
			rows = append(rows, r)
		}
	} else {
		s.e.Store.Each(func(r *data.Row) {
			if silent(s.e, r) == "" {
				rows = append(rows, r)
			}
		})
		slices.SortFunc(rows, func(a, b *data.Row) int { return text.Natural(a.Name, b.Name) })
		s.left = max(0, len(rows)-mostInstances)
		rows = rows[:len(rows)-s.left]
	}
	var cmds []tea.Cmd
	was := s.sources
	s.sources = nil
	for _, r := range rows {
		i := slices.IndexFunc(was, func(f *source) bool { return f.id == r.ID })
		if i < 0 {
			f := &source{id: r.ID, name: r.Name, ref: s.e.Store.Ref(r), known: map[string]*api.Job{}}
			s.sources = append(s.sources, f)
			cmds = append(cmds, s.start(f))
			continue
		}
		f := was[i]
		s.sources = append(s.sources, f)
		if why := silent(s.e, r); why != f.why {
			cmds = append(cmds, s.start(f))
		}
	}
	for _, f := range was {
		if !slices.Contains(s.sources, f) && f.stop != nil {
			f.stop()
			f.gen++
			f.watch.End()
		}
	}
	if len(was) != len(s.sources) || len(cmds) > 0 {
		s.Keep(s.lay)
	}
	return tea.Batch(cmds...)
}

// Update implements screen.Screen.
func (s *Queue) Update(msg tea.Msg) tea.Cmd {
	cmd := s.update(msg)
	return tea.Batch(cmd, s.see())
}

func (s *Queue) update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case job.WatchedMsg:
		return s.watched(m)
	case pageMsg:
		return s.paged(m)
	case answer:
		if m.of == s {
			return s.got(m)
		}
	case askMsg:
		if m.of == s && m.gen == m.src.gen {
			return s.ask(m.src)
		}
	case elementsMsg:
		if m.of != s {
			return nil
		}
		if m.err != nil {
			return screen.Warn("its elements could not be read: " + api.AsError(m.err).Message)
		}
		m.src.more = m.src.more || m.more
		for i := range m.list {
			s.take(m.src, &m.list[i])
		}
		s.Keep(s.lay)
	case screen.Changed:
		return s.attend()
	case screen.Measured:
		s.measured()
	case tea.KeyMsg:
		return s.Type(m)
	}
	return nil
}

// Title implements screen.Screen.
func (s *Queue) Title() string { return "queue" }

// About implements screen.About.
func (s *Queue) About() string { return s.name }

// Topic implements screen.Screen.
func (s *Queue) Topic() string { return "jobs" }

// Subjects implements screen.Subject.
func (s *Queue) Subjects() []*data.Row {
	var out []*data.Row
	add := func(id string) {
		if r := s.e.Store.Row(id); r != nil && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	if s.id != "" {
		add(s.id)
		return out
	}
	for _, i := range s.Marked() {
		if f := s.rows[i].src; f != nil {
			add(f.id)
		}
	}
	return out
}

// at is the job under the cursor, or nil.
func (s *Queue) at() *job.One {
	i, ok := s.Row()
	if !ok {
		return nil
	}
	return s.one(i)
}

func (s *Queue) one(i int) *job.One {
	r := &s.rows[i]
	return &job.One{Row: s.e.Store.Row(r.src.id), Ref: r.src.ref, Jobs: r.src.jobs, Job: r.job}
}

// chosen are the jobs that verbs are for.
func (s *Queue) chosen() []job.One {
	var out []job.One
	for _, i := range s.Marked() {
		if s.rows[i].job != nil {
			out = append(out, *s.one(i))
		}
	}
	return out
}

// open shows a job, or an array's elements.
func (s *Queue) open() tea.Cmd {
	r := s.rows[s.At]
	id := r.id()
	if r.job.Elements == nil {
		return s.e.Send(screen.Open{Name: "job", Arg: id})
	}
	s.unfolded[id] = !s.unfolded[id]
	if s.unfolded[id] {
		s.Keep(s.lay)
		return tea.Sequence(screen.Info("its elements that have begun; enter folds them again"), s.elements(r.src, *r.job.ID))
	}
	for k, j := range r.src.known {
		if j.ArrayID != nil && fmt.Sprint(*j.ArrayID) == *r.job.ID {
			delete(r.src.known, k)
			delete(s.Marks, r.src.id+" "+k)
		}
	}
	s.Keep(s.lay)
	return nil
}

// Keys implements screen.Screen.
func (s *Queue) Keys() []key.Binding {
	if s.Typing() {
		return s.List.Keys()
	}
	none := ""
	at := s.at()
	if at == nil {
		none = "there is no job here"
	}
	enter := key.Of("enter", none, s.open).As("log").Saying("Its log and details; of an array, its elements.")
	if at != nil && at.Job.Elements != nil {
		enter = enter.As("unfold")
	}
	live := func() tea.Cmd { s.onlyLive = !s.onlyLive; s.Keep(s.lay); return nil }
	whole := key.Binding{Keys: []string{"v"}, Label: "fleet", Group: key.Looking, Desc: "The jobs of the whole fleet.",
		Do: func() tea.Cmd { return s.e.Send(screen.Open{Name: "queue"}) }}
	if s.id == "" {
		whole.Label, whole.Why = "", "these are the jobs of the whole fleet"
	}
	bs := []key.Binding{enter}
	bs = append(bs, job.Keys(s.e, at, s.chosen())...)
	bs = append(bs, job.OrderKeys(s.e, at, s.chosen())...)
	bs = append(bs, job.AgainKey(s.e, at))
	bs = append(bs, s.openKey(at), whole,
		key.Binding{Keys: []string{"."}, Group: key.Looking, Desc: "Show only what runs or waits, or all.", Do: live},
		key.Of("y", none, func() tea.Cmd {
			return s.e.Send(screen.Copy{What: "the job's id", Text: *s.rows[s.At].job.ID})
		}).As("copy").Saying("Copy the job's id."),
		s.commands(at),
		key.Of("R", "", func() tea.Cmd {
			var cmds []tea.Cmd
			for _, f := range s.sources {
				f.epoch = ""
				cmds = append(cmds, s.start(f))
			}
			return tea.Batch(append(cmds, screen.Info("it is read again"))...)
		}).As("refresh").Saying("Read it again."))
	if s.onlyLive && !s.Narrowed() {
		bs = append(bs, key.Of("esc", "", live).As("clear").Saying("As it was before."))
	}
	return append(bs, s.List.Keys()...)
}

// openKey opens a service in the browser.
func (s *Queue) openKey(at *job.One) key.Binding {
	why := ""
	switch {
	case at == nil || at.Job.Service == nil:
		why = "only a service is opened"
	case at.Job.State != api.JobRunning:
		why = "the service does not run"
	case at.Row == nil:
		why = "its instance is gone"
	}
	b := key.Of("o", why, func() tea.Cmd {
		return s.e.Send(screen.Open{Name: "ports", Arg: ports.Opening(at.Row.ID, at.Job.Service.Port)})
	})
	if why == "" {
		b = b.As("open").Saying("Open the service in the browser; its port is forwarded first.")
	}
	return b
}

// commands is the binding that shows the command lines.
func (s *Queue) commands(at *job.One) key.Binding {
	if at != nil || len(s.sources) == 0 {
		return job.Commands(s.e, at)
	}
	return key.Of("c", "", func() tea.Cmd {
		line := shellquote.Line("berth", "job", "ls", s.sources[0].ref)
		return s.e.Send(screen.Copy{What: "the command line", Text: line})
	})
}
