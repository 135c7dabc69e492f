package job

import (
	"context"
	"fmt"
	"sync"
	"time"

	"berth/backend/agent/job/notify"
	"berth/backend/agent/part"
	"berth/queue"
	"berth/queue/plan"
)

const (
	// tellsAtOnce is how many are told at once, and tellsAhead of how many jobs are looked at at a time.
	tellsAtOnce, tellsAhead = 4, 50
	// tellGrace is how long those that are being told have when the agent leaves.
	tellGrace = 2 * time.Second
)

// teller tells others of jobs that have ended. Whom it is to tell stands in the journal, and each try is counted there
// before it is made: so each end is told once, but for a try that was cut off and is made again, and not forever.
type teller struct {
	l       *loop
	path    string // of the file that says who can be told
	home    string
	name    string // of the instance
	environ func(ctx context.Context) []string
	backoff func(try int) time.Duration
	event   func(text string)

	mu    sync.Mutex
	wrong []string // that was said of the rules

	slots chan struct{}
	wg    sync.WaitGroup
	end   func() // no more tries begin
	cut   func() // those under way are cut off
}

// newTeller makes the teller of a queue, and has it begin.
func newTeller(h *part.Host, l *loop) *teller {
	t := &teller{l: l, path: notify.Path(h.Home), home: h.Home, name: h.Instance, backoff: notify.Backoff,
		slots: make(chan struct{}, tellsAtOnce)}
	t.event = func(text string) { h.Event("jobs", "warn", text) }
	t.environ = func(ctx context.Context) []string { return h.Environment(ctx, nil, false, "") }
	t.begin(func(f func()) { h.Contain("telling others of jobs", f) })
	return t
}

func (t *teller) begin(contain func(func())) {
	looking, end := context.WithCancel(context.Background()) // both end with stop
	telling, cut := context.WithCancel(context.Background())
	t.end, t.cut = end, cut
	t.wg.Go(func() {
		for looking.Err() == nil {
			contain(func() { t.look(looking, telling, contain) })
			pause(looking, panicPause) // after a panic
		}
	})
}

// stop ends the teller. Those that are being told have a moment.
func (t *teller) stop() {
	t.end()
	timer := time.AfterFunc(tellGrace, t.cut)
	t.wg.Wait()
	timer.Stop()
	t.cut()
}

// look hands out what is due, until ctx ends.
func (t *teller) look(ctx, telling context.Context, contain func(func())) {
	for ctx.Err() == nil {
		changed := t.l.owing()
		wait := lookAgain
		due, next, err := t.l.journal.Due(ctx, t.l.now(), tellsAhead)
		for _, number := range due {
			if err == nil {
				err = t.hand(ctx, telling, queue.ID{Number: number}, contain)
			}
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			t.l.log.Warn("who is to be told of jobs can't be read or written", "error", err)
			wait, changed = brokenPause, nil
		case len(due) > 0:
			wait = 0
		case next.IsZero():
			wait = -1
		default:
			wait = min(max(next.Sub(t.l.now()), 0), lookAgain)
		}
		sleep(ctx, wait, changed)
	}
}

// hand begins a try for each who is due to be told of a job.
func (t *teller) hand(ctx, telling context.Context, id queue.ID, contain func(func())) error {
	var job queue.Job
	var names []string
	err := t.l.settle(ctx, id, func(j *queue.Job) {
		names = j.Try(t.l.now(), func(try int) time.Time { return t.l.now().Add(notify.Limit + t.backoff(try)) })
		job = *j
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		select {
		case t.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		t.wg.Go(func() {
			defer func() { <-t.slots }()
			contain(func() { t.tell(telling, job, name) })
		})
	}
	return nil
}

// tell makes a try, and notes how it ended.
func (t *teller) tell(ctx context.Context, job queue.Job, name string) {
	var ruled, wrong []string
	var err error
	if name == queue.ByRule {
		ruled, wrong, err = t.rule(ctx, job)
	} else {
		err = t.try(ctx, job, name)
	}
	if ctx.Err() != nil {
		return // it is made again by the next agent
	}
	failed := ""
	if err != nil {
		failed = err.Error()
		t.l.log.Warn("somebody was not told of a job's end", "job", job.ID.String(), "name", name, "error", failed)
	}
	note := func(j *queue.Job) {
		switch {
		case !j.EndedAt.Equal(job.EndedAt):
		case name == queue.ByRule && err == nil:
			j.Rule(ruled, j.Spec.Notify, wrong, t.l.now())
		default:
			j.Told(name, failed, notify.Tries, func(try int) time.Time { return t.l.now().Add(t.backoff(try)) })
		}
	}
	for ctx.Err() == nil {
		if err := t.l.settle(ctx, job.ID, note); err == nil {
			return
		}
		pause(ctx, brokenPause) // the disk may be full: it was told, and is not told again
	}
}

// try tells somebody of a job's end.
func (t *teller) try(ctx context.Context, job queue.Job, name string) error {
	hooks, err := notify.Read(t.path)
	if err == nil {
		err = hooks.Check(t.path, []string{name})
	}
	if err != nil {
		return err
	}
	v, err := t.l.one(ctx, job.ID)
	if err != nil {
		return err
	}
	return hooks[name].Tell(ctx, notify.Of(&v, t.name), t.environ(ctx), t.home)
}

// settle changes what a job's status says of who is told, in the loop. A job that is forgotten, or runs again, is
// handed to nobody: nobody is told of it any more.
func (l *loop) settle(ctx context.Context, id queue.ID, change func(*queue.Job)) error {
	_, err := l.do(ctx, &ask{inputs: func(ctx context.Context) ([]plan.Input, error) {
		job, found, err := l.journal.Job(ctx, id)
		if err != nil {
			return nil, err
		}
		tell := found && job.State.Done() && len(job.Owed) > 0
		if tell {
			change(&job)
		}
		if err := l.journal.Settle(ctx, id, &job.Status, tell); err != nil {
			return nil, err
		}
		l.tellChanged(tell)
		if tell {
			l.owes() // the next try may come earlier now
		}
		return nil, nil
	}})
	return explain(err)
}

// owing is closed when somebody is to be told of a job that has ended since.
func (l *loop) owing() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owed
}

// sleep waits for a time, or until changed is closed, or ctx ends. Below 0 it waits for ever.
func sleep(ctx context.Context, d time.Duration, changed <-chan struct{}) {
	var after <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		after = t.C
	}
	select {
	case <-after:
	case <-changed:
	case <-ctx.Done():
	}
}

func pause(ctx context.Context, d time.Duration) { sleep(ctx, d, nil) }

// untold says, as warnings, who could not be told of a job's end so far.
func untold(j *queue.Job) (out []string) {
	for _, o := range j.Owed {
		if o.Why != "" {
			out = append(out, fmt.Sprintf("%s was not told of its end yet (try %d of %d): %s", o.Who(), o.Tries, notify.Tries, o.Why))
		}
	}
	return out
}
