package job

import (
	"context"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/data"
	"berth/ui/key"
	"berth/ui/list"
	"berth/ui/screen"
	"berth/ui/theme"
)

// Job is the screen.
type Job struct {
	e *screen.Env
	list.Pager
	id, name, ref string // of the instance
	job           string
	jobs          screen.Jobs
	j             *api.Job // nil: not known yet
	err           error    // why what is known is not renewed

	watch  Watch // how far it is
	log    tail
	run    int // whose log it is
	in     *inbox
	logErr error // why it does not come; it is tried again
	ended  bool  // all of it is there
	cut    bool  // long lines are cut, not folded
	facts  bool  // details are shown, not the log
	drawn  drawn

	ctx    context.Context
	cancel context.CancelFunc
	stop   context.CancelFunc // ends the log that is read
}

// drawn are the lines of the log as they were drawn.
type drawn struct {
	of    drawnAs
	n     int // of the tail's lines
	lines []string
}

// drawnAs is what a drawing depends on.
type drawnAs struct {
	width, dropped int
	cut            bool
	words          string
	theme          *theme.Theme
}

type gotMsg struct {
	of  *Job
	job api.Job
	err error
}

// New makes the screen; arg is the id of an instance and, behind a blank, that of a job.
func New(e *screen.Env, arg string) screen.Screen {
	s := &Job{e: e}
	s.id, s.job, s.name, s.ref, s.jobs = Find(e, arg)
	s.ctx, s.cancel = context.WithCancel(e.Ctx)
	return s
}

// Find reads the argument of a screen about a job: the ids of its instance and of the job, how the instance is called
// and referred to, and the calls about its jobs, which are nil where there is no way to them.
func Find(e *screen.Env, arg string) (id, job, name, ref string, jobs screen.Jobs) {
	id, job, _ = strings.Cut(arg, " ")
	name, ref = id, id
	if r := e.Store.Row(id); r != nil {
		name, ref = r.Name, e.Store.Ref(r)
	}
	if e.Jobs != nil {
		jobs = e.Jobs(ref)
	}
	return id, job, name, ref, jobs
}

// Close ends what the screen waits for.
func (s *Job) Close() { s.cancel() }

// Init implements screen.Screen.
func (s *Job) Init() tea.Cmd {
	if s.jobs == nil {
		s.err = api.Errorf(api.CodeUnsupported, "there is no way to jobs from here")
		return nil
	}
	return tea.Batch(s.get(), s.follow(0))
}

// get asks for the job, and then when it has changed.
func (s *Job) get() tea.Cmd {
	j := s.j
	return func() tea.Msg {
		m := gotMsg{of: s}
		if j == nil {
			m.job, m.err = s.jobs.Get(s.ctx, s.job)
		} else {
			m.job, m.err = s.jobs.Wait(s.ctx, s.job, j.Seq)
		}
		return m
	}
}

// Update implements screen.Screen.
func (s *Job) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case WatchedMsg:
		list, cmd := s.watch.Got(s.e, s.ctx, m)
		for _, p := range list {
			if s.j != nil && p.ID == s.job {
				s.j.SetProgress(p)
			}
		}
		return cmd
	case gotMsg:
		if m.of == s && s.ctx.Err() == nil {
			return s.got(m)
		}
	case nextMsg:
		if m.of == s {
			return s.get()
		}
	case arrivedMsg:
		return s.arrived(m.in)
	case brokeMsg:
		return s.broke(m)
	case againMsg:
		if m.in == s.in {
			return s.follow(s.run)
		}
	case tea.KeyMsg:
		return s.Type(m)
	}
	return nil
}

type nextMsg struct{ of *Job }

func (s *Job) got(m gotMsg) tea.Cmd {
	s.err = m.err
	wait := pace
	if m.err != nil {
		wait = retry
		if api.AsError(m.err).Code == api.CodeNotFound { // it won't come back
			return nil
		}
	} else {
		s.j = &m.job
	}
	return tea.Batch(s.newer(), s.see(), s.e.Tick(wait, func(time.Time) tea.Msg { return nextMsg{s} }))
}

// see asks how far the job is, while it runs.
func (s *Job) see() tea.Cmd {
	if s.j == nil || s.j.Elements != nil || s.j.State.Done() || s.j.StartedAt.IsZero() {
		s.watch.End()
		return nil
	}
	return s.watch.See(s.ctx, s.jobs, []string{s.job})
}

// Title implements screen.Screen.
func (s *Job) Title() string { return "job-" + s.job }

// About implements screen.About.
func (s *Job) About() string { return s.name }

// Topic implements screen.Screen.
func (s *Job) Topic() string { return "jobs" }

// Subjects implements screen.Subject.
func (s *Job) Subjects() []*data.Row {
	if r := s.e.Store.Row(s.id); r != nil {
		return []*data.Row{r}
	}
	return nil
}

// one is the job for verbs, or nil while it is not known.
func (s *Job) one() *One {
	if s.j == nil {
		return nil
	}
	return &One{Row: s.e.Store.Row(s.id), Ref: s.ref, Jobs: s.jobs, Job: s.j}
}

// Keys implements screen.Screen.
func (s *Job) Keys() []key.Binding {
	if s.Typing() {
		return s.Pager.Keys()
	}
	at := s.one()
	var all []One
	if at != nil {
		all = []One{*at}
	}
	v := key.Binding{Keys: []string{"v"}, Label: "details", Group: key.Looking, Desc: "All that is known of the job, or its log.",
		Do: func() tea.Cmd {
			s.facts = !s.facts
			s.Pager = list.Pager{} // the log goes on at its end
			return nil
		}}
	if s.facts {
		v.Label = "log"
	}
	bs := []key.Binding{v,
		{Keys: []string{"W"}, Label: "wrap", Group: key.Looking, Desc: "Fold long lines of the log, or cut them.",
			Do: func() tea.Cmd {
				s.cut = !s.cut
				if s.cut {
					return screen.Info("long lines are cut")
				}
				return screen.Info("long lines are folded")
			}},
		Commands(s.e, at),
		key.Of("y", "", func() tea.Cmd {
			return s.e.Send(screen.Copy{What: "the log's last lines", Text: s.text()})
		}).As("copy").Saying("Copy the last lines of the log."),
		key.Of("R", "", func() tea.Cmd {
			return tea.Batch(s.follow(s.run), screen.Info("the log is followed anew"))
		}).As("refresh").Saying("Ask for the log anew, from where it was read to."),
	}
	bs = append(bs, Keys(s.e, at, all)...)
	bs = append(bs, OrderKeys(s.e, at, all)...)
	bs = append(bs, AgainKey(s.e, at))
	for _, b := range s.Pager.Keys() {
		if b.Keys[0] == "G" {
			b = b.As("follow").Saying("To the end, and follow.")
		}
		bs = append(bs, b)
	}
	return bs
}

// copied is how many of the last lines are copied.
const copied = 1000

// text is the end of the log as one text.
func (s *Job) text() string {
	lines := s.log.lines[max(0, len(s.log.lines)-copied):]
	out := strings.Join(lines, "\n")
	if l := s.log.last(); l != "" {
		out += "\n" + l
	}
	return strings.TrimPrefix(out, "\n")
}
