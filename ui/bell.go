package ui

import (
	"context"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/action"
	"berth/ui/jobword"
	"berth/ui/screen"
)

// The dashboard rings when a job ends that it has seen run, whatever screen is open. It asks an instance what has
// changed only when its counts of jobs have, which the fleet's stream brings: a quiet fleet is asked nothing.

const (
	// bellPace is the least time between two questions to an instance.
	bellPace = 2 * time.Second
	// bellRuns is how many jobs are seen that run when an instance is first asked; the API's page.
	bellRuns = 1000
	// bellEnds is how many of those that have ended are read where the changes can't be told one by one.
	bellEnds = 200
)

// ear listens for the ends of one instance's jobs.
type ear struct {
	id    string
	heard api.JobCounts
	epoch string
	seq   int64
	runs  map[string]bool // jobs that were seen to run
	busy  bool            // it is asked, or waits for the next question
	again bool            // the counts have changed since it was asked
}

// ears are those of the fleet, by instance. The zero value hears nothing.
type ears map[string]*ear

type (
	heardMsg struct {
		of      *ear
		changes api.JobChanges
		runs    []api.Job // with Anew
		ended   []api.Job
		err     error
	}
	listenMsg struct{ of *ear }
)

// listen asks those instances whose counts of jobs have changed.
func (m *Model) listen(changed []*api.Instance, removed []string) tea.Cmd {
	if m.hooks.Notify == nil || m.e.Config.JobBell == nil || m.e.Jobs == nil || m.verb {
		return nil
	}
	var cmds []tea.Cmd
	for _, in := range changed {
		n := jobword.Of(in)
		f := m.ears[in.ID]
		if f == nil {
			if n.Running == 0 {
				continue // it is listened to once it has a job that runs
			}
			f = &ear{id: in.ID, runs: map[string]bool{}}
			m.ears[in.ID] = f
		}
		if n == f.heard {
			continue
		}
		if f.heard = n; f.busy {
			f.again = true
			continue
		}
		cmds = append(cmds, m.listenTo(f))
	}
	for _, id := range removed {
		delete(m.ears, id)
	}
	return tea.Batch(cmds...)
}

// listenTo asks an instance what has changed.
func (m *Model) listenTo(f *ear) tea.Cmd {
	r := m.e.Store.Row(f.id)
	if r == nil || r.State != api.StateRunning || action.Why(m.e, r, action.Queue) != "" {
		f.busy, f.again = false, false
		return nil
	}
	f.busy, f.again = true, false
	jobs, epoch, seq, ctx := m.e.Jobs(m.e.Store.Ref(r)), f.epoch, f.seq, m.e.Ctx
	return func() tea.Msg {
		a := heardMsg{of: f}
		a.changes, a.err = jobs.Changes(ctx, epoch, seq)
		if a.err != nil || !a.changes.Anew || a.changes.Epoch == api.NoJobs {
			return a
		}
		a.runs, a.err = page(ctx, jobs, bellRuns, api.JobPreparing, api.JobRunning, api.JobPaused, api.JobStopping)
		if a.err == nil && epoch != "" {
			a.ended, a.err = page(ctx, jobs, bellEnds, api.JobSucceeded, api.JobFailed, api.JobCancelled, api.JobTimedOut,
				api.JobLost)
		}
		return a
	}
}

func page(ctx context.Context, jobs screen.Jobs, most int, states ...api.JobState) ([]api.Job, error) {
	p, err := jobs.List(ctx, api.JobQuery{States: states, Limit: most})
	return p.Jobs, err
}

// hear takes an answer, and rings.
func (m *Model) hear(a heardMsg) tea.Cmd {
	f := a.of
	if a.err == nil {
		m.ringFor(f, append(a.changes.Jobs, a.ended...))
		if a.changes.Anew {
			f.runs = map[string]bool{}
			for i := range a.runs {
				f.sees(&a.runs[i])
			}
		}
		f.epoch, f.seq = a.changes.Epoch, a.changes.Seq
	}
	return m.e.Tick(bellPace, func(time.Time) tea.Msg { return listenMsg{f} })
}

// sees notes a job that runs. An element is seen with its array.
func (f *ear) sees(j *api.Job) {
	if j.ArrayID == nil && j.ID != nil && !j.State.Done() && j.State != api.JobQueued && j.State != api.JobHeld {
		f.runs[*j.ID] = true
	}
}

// ringFor rings, once for all, for those of the jobs that were seen to run and have ended.
func (m *Model) ringFor(f *ear, jobs []api.Job) {
	r := m.e.Store.Row(f.id)
	var last *api.Job
	more := 0
	for i := range jobs {
		j := &jobs[i]
		f.sees(j)
		if j.ID == nil || !j.State.Done() || !f.runs[*j.ID] {
			continue
		}
		delete(f.runs, *j.ID)
		if j.EndedAt.Sub(j.SubmittedAt) < jobword.BellAfter || j.Cause == "cancelled" {
			continue // nobody has looked away, or somebody knows
		}
		if last != nil {
			more++
		}
		last = j
	}
	if last == nil || r == nil {
		return
	}
	if s := m.e.Config.JobBell(r.Name, last, more); s != "" {
		_ = m.hooks.Notify(s) // a terminal that is gone is noticed by the reader
	}
}
