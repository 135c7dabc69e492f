package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/action"
	"berth/ui/data"
	"berth/ui/job"
	"berth/ui/jobword"
	"berth/ui/screen"
)

const (
	// pace is the least time between two answers of one instance: four a second.
	pace = 250 * time.Millisecond
	// retry is how long after an instance could not be asked it is asked again.
	retry = 5 * time.Second
	// most bounds the jobs that are read of those that wait, of those that have ended, and of an array's elements; it is
	// the API's page for those that run.
	most     = 200
	mostRuns = 1000
)

var (
	active  = []api.JobState{api.JobPreparing, api.JobRunning, api.JobPaused, api.JobStopping}
	waiting = []api.JobState{api.JobQueued, api.JobHeld}
	kept    = slices.Concat(active, waiting)
	done    = []api.JobState{api.JobSucceeded, api.JobFailed, api.JobCancelled, api.JobTimedOut, api.JobLost}
)

// source is what is known of one instance's jobs.
type source struct {
	id, name, ref string
	jobs          screen.Jobs
	epoch         string
	seq           int64
	known         map[string]*api.Job // jobs and arrays, and elements of those that are unfolded
	more          bool                // there are jobs that were not read
	loaded        bool
	next          [sections]string // asks for those behind what was read of a section; "": there are none
	paging        bool             // they are being read
	ends          int              // how many of those that have ended are kept
	open          int64            // the last change when it was opened
	seen          int64            // up to this change it was seen before; below 0: it never was
	why           string           // it is not asked
	err           error            // the last answer

	watch job.Watch // how far those in sight are
	gen   int       // of the question under way
	stop  context.CancelFunc
}

// answer is what an instance answered.
type answer struct {
	of      *Queue
	src     *source
	gen     int
	changes api.JobChanges
	read    []api.Job // with Anew: all; else those that wait, with why now
	next    [sections]string
	more    bool
	err     error
}

type askMsg struct {
	of  *Queue
	src *source
	gen int
}

// silent says why an instance is not asked, or "".
func silent(e *screen.Env, r *data.Row) string {
	if w := action.Why(e, r, action.Queue); w != "" {
		return w
	}
	switch r.State {
	case api.StateStopped, api.StateStopping:
		if r.JobsKept > 0 {
			break // the service answers with these
		}
		return r.Name + " is " + action.Word(r.State) + ": its jobs are on its disk, and are shown when it runs"
	case api.StateCreateFailed, api.StateDeleting:
		return r.Name + " is " + action.Word(r.State)
	}
	return ""
}

// start asks an instance from now on, if it can be asked; what was asked before is given up.
func (s *Queue) start(f *source) tea.Cmd {
	if f.stop != nil {
		f.stop()
		f.stop = nil
	}
	f.gen++
	if s.e.Jobs == nil {
		f.why = "there is no way to jobs from here"
		return nil
	}
	if f.why = silent(s.e, s.e.Store.Row(f.id)); f.why != "" {
		f.err = nil
		return nil
	}
	if f.jobs == nil {
		f.jobs = s.e.Jobs(f.ref)
	}
	return s.ask(f)
}

// ask asks for what has changed, or for all.
func (s *Queue) ask(f *source) tea.Cmd {
	var ctx context.Context
	ctx, f.stop = context.WithCancel(s.ctx)
	a := answer{of: s, src: f, gen: f.gen}
	epoch, seq, jobs := f.epoch, f.seq, f.jobs
	var arrays []string
	reasons := false
	for id, j := range f.known {
		if s.unfolded[f.id+" "+id] {
			arrays = append(arrays, id)
		}
		reasons = reasons || j.State == api.JobQueued || j.State == api.JobHeld
	}
	return func() tea.Msg {
		a.changes, a.err = jobs.Changes(ctx, epoch, seq)
		switch {
		case a.err != nil || a.changes.Epoch == api.NoJobs:
		case a.changes.Anew:
			a.read, a.next, a.more, a.err = readAll(ctx, jobs, arrays)
		case len(a.changes.Jobs) > 0 && reasons: // why the others wait may be another now
			var p api.JobPage
			p, a.err = jobs.List(ctx, api.JobQuery{States: waiting, Next: true, Limit: most})
			a.read = p.Jobs
		}
		return a
	}
}

// readAll reads what is shown of a queue.
func readAll(ctx context.Context, jobs screen.Jobs, arrays []string) (all []api.Job, next [sections]string, more bool,
	err error) {
	var qs []api.JobQuery
	for part := range sections {
		qs = append(qs, query(part))
	}
	for _, id := range arrays {
		qs = append(qs, api.JobQuery{Array: id, Limit: most})
	}
	for i, q := range qs {
		p, err := jobs.List(ctx, q)
		if err != nil {
			return nil, next, false, fmt.Errorf("reading the queue: %w", err)
		}
		all = append(all, p.Jobs...)
		if i < int(sections) {
			next[i] = p.Next
		} else {
			more = more || p.Next != ""
		}
	}
	return all, next, more, nil
}

// query asks for the first page of a section.
func query(part section) api.JobQuery {
	q := api.JobQuery{States: states[part], Next: part == waits, Services: part == services, Limit: most}
	if part == running {
		q.Limit = mostRuns
	}
	return q
}

// got takes an answer, and asks again after a while.
func (s *Queue) got(a answer) tea.Cmd {
	f := a.src
	if a.gen != f.gen || s.ctx.Err() != nil {
		return nil
	}
	f.stop()
	f.err = a.err
	wait := pace
	switch {
	case a.err != nil:
		if job.Older(a.err) {
			return nil
		}
		wait = retry
	case a.changes.Anew:
		f.known, f.next, f.more, f.ends = map[string]*api.Job{}, a.next, a.more, most
		fallthrough
	default:
		if !f.loaded || f.epoch != a.changes.Epoch {
			f.seen, f.open = s.seenUpTo(f, a.changes.Epoch), a.changes.Seq
		}
		f.epoch, f.seq, f.loaded = a.changes.Epoch, a.changes.Seq, true
		s.note(f)
		// What was read is newer than what was told before it.
		for _, list := range [][]api.Job{a.changes.Jobs, a.read} {
			for i := range list {
				s.take(f, &list[i])
			}
		}
		f.prune()
	}
	s.Keep(s.lay)
	return s.e.Tick(wait, func(time.Time) tea.Msg { return askMsg{s, f, a.gen} })
}

// take keeps a job as it is now. An element is kept while its array is unfolded.
func (s *Queue) take(f *source, j *api.Job) {
	if j.ID == nil { // it waits for its instance
		j.ID = new(jobword.ID(j))
	}
	if j.ArrayID != nil && !s.unfolded[f.id+" "+fmt.Sprint(*j.ArrayID)] {
		return
	}
	if was := f.known[*j.ID]; was != nil && was.Seq > j.Seq {
		return
	}
	f.known[*j.ID] = j
}

// prune forgets the oldest of those that have ended, where they have become many.
func (f *source) prune() {
	var over []*api.Job
	for _, j := range f.known {
		if j.State.Done() {
			over = append(over, j)
		}
	}
	if len(over) <= f.ends+most {
		return
	}
	slices.SortFunc(over, func(a, b *api.Job) int { return b.EndedAt.Compare(a.EndedAt) })
	for _, j := range over[f.ends:] {
		delete(f.known, *j.ID)
	}
	f.next[ended] = lowest(over[:f.ends]) // those that went are read again where somebody goes there
}

type elementsMsg struct {
	of   *Queue
	src  *source
	list []api.Job
	more bool
	err  error
}

// elements reads those of an array that have begun.
func (s *Queue) elements(f *source, array string) tea.Cmd {
	return func() tea.Msg {
		p, err := f.jobs.List(s.ctx, api.JobQuery{Array: array, Limit: most})
		return elementsMsg{s, f, p.Jobs, p.Next != "", err}
	}
}
