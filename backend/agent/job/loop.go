package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"berth/backend/agent/job/run"
	"berth/backend/agent/joblog"
	"berth/backend/api"
	"berth/queue"
	"berth/queue/journal"
	"berth/queue/plan"
)

// keepJobs is how many jobs that are done are kept. They are trimmed after so many more.
const (
	keepJobs  = 100_000
	trimAfter = 200
)

// brokenPause is how long after a failed write the next one is tried.
const brokenPause = time.Second

// lookAgain is how long the loop sleeps at most while something waits for a time: the clock may be set meanwhile, or
// the machine sleep.
const lookAgain = 30 * time.Second

// loop decides for one queue. Only its own goroutine (run) touches plan and journal's writing side.
type loop struct {
	journal *journal.Journal
	runner  queue.Runner
	limits  plan.Limits
	runs    string // the folder of runs
	taken   string // the folder of those that jobs were submitted with, by UUID; may be empty
	log     *slog.Logger
	now     func() time.Time
	secrets run.Secrets
	gpus    *ledger
	rules   ruling           // of whom others are told
	kept    map[int64]string // jobs that have secrets, by number: their UUIDs

	keep   int // jobs that are done, and their logs, are kept up to this number
	ended  int // jobs that were done since the history was last trimmed
	sweeps sync.WaitGroup
	looks  looks // at the logs of what runs

	expects expects
	healths healths // of services
	usages  usages  // of GPUs
	guards  guards  // of their leases

	plan *plan.Planner
	wake time.Time // of the plan
	// broken is why the last change could not be written. Until the next try each request is answered with it.
	broken  error
	retryAt time.Time
	drained time.Time // until then nothing is started; zero: it is not drained

	mu      sync.Mutex
	asked   []*ask
	events  []queue.Event
	devices *plan.SetGPUs // how the GPUs are, where it was not taken in yet
	cleared []int64       // old jobs whose runs' folders are gone
	closed  bool
	poke    chan struct{} // there is something; capacity 1
	changed chan struct{} // closed and made anew at each commit
	owed    chan struct{} // closed and made anew when somebody is to be told of a job's end
	gone    chan struct{} // closed with the loop: the next agent has the queue
}

// ask is a request to the loop.
type ask struct {
	// inputs are what the plan gets. They are made in the loop, with what the plan and the journal know then. None
	// without an error ask for nothing more. It failed if all of them failed.
	inputs func(ctx context.Context) ([]plan.Input, error)
	// look reads the plan, instead.
	look func(p *plan.Planner)
	done chan answered // capacity 1
}

type answered struct {
	id  queue.ID
	err error
}

func newLoop(j *journal.Journal, limits plan.Limits, runs string, log *slog.Logger) *loop {
	l := &loop{journal: j, keep: keepJobs, ended: trimAfter, limits: limits, runs: runs, log: log,
		now: func() time.Time { return time.Now().UTC() }, poke: make(chan struct{}, 1),
		changed: make(chan struct{}), owed: make(chan struct{}), gone: make(chan struct{})}
	l.gpus = newLedger(nil, l.see)
	l.gpus.used, l.gpus.quiet = l.watchUsage, l.usages.quiet
	l.healths.poke = make(chan struct{}, 1)
	return l
}

// errLeaves is the answer to who asks when the loop has ended.
var errLeaves = errors.New("the agent leaves this queue to another one: ask again")

// do asks the loop and waits for its answer.
func (l *loop) do(ctx context.Context, a *ask) (queue.ID, error) {
	a.done = make(chan answered, 1)
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return queue.ID{}, errLeaves
	}
	l.asked = append(l.asked, a)
	l.mu.Unlock()
	l.nudge()
	select {
	case x := <-a.done:
		return x.id, x.err
	case <-ctx.Done():
		return queue.ID{}, ctx.Err()
	}
}

// emit takes what a runner has seen.
func (l *loop) emit(e queue.Event) {
	if e.Ended != nil {
		l.rules.look()
		dir := l.runDir(e.ID, e.Attempt)
		e.Ended.LogBytes, _, _ = joblog.Newest(dir) // one that never began has none
		if e.Ended.Exit != 0 {
			e.Ended.Beside = l.usages.besideOf(e.ID, e.Attempt)
		}
		u := l.usages.of(e.ID, e.Attempt, dir)
		e.Ended.PeakGPUMemory, e.Ended.GPUEnergy = u.PeakMemory, u.Joules
	}
	l.mu.Lock()
	l.events = append(l.events, e)
	l.mu.Unlock()
	l.nudge()
}

// see takes how the GPUs are.
func (l *loop) see(now plan.SetGPUs) {
	l.mu.Lock()
	l.devices = &now
	l.mu.Unlock()
	l.nudge()
}

func (l *loop) nudge() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// next is closed at the next commit.
func (l *loop) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// load begins with what the journal has. The runs of an earlier agent are adopted.
func (l *loop) load(ctx context.Context) error {
	l.plan = plan.New(l.limits, l.journal.Last())
	if !l.drained.IsZero() {
		l.plan.Do(l.now(), plan.Drain{On: true})
	}
	out, err := l.plan.Load(l.now(), l.keptSecrets(l.journal.Live(ctx)))
	if err != nil {
		return err
	}
	return l.commit(ctx, out)
}

// panicPause is how long after a panic the queue is taken up again.
const panicPause = 15 * time.Second

// keepOn works until ctx ends. After a panic, which contain has told, the queue is taken up anew from the journal: jobs
// run and end meanwhile.
func (l *loop) keepOn(ctx context.Context, contain func(func())) {
	defer l.close()
	for ctx.Err() == nil {
		contain(func() { l.run(ctx) })
		l.plan = plan.New(l.limits, l.journal.Last()) // nothing is known of what is left of the other
		l.broken, l.retryAt = unwritten{errPanic}, l.now().Add(panicPause)
	}
}

var errPanic = errors.New("the queue has met an error in Berth itself, which the agent's log has")

// run works until ctx ends.
func (l *loop) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if d := l.sleep(); d < 0 {
			timer.Stop()
		} else {
			timer.Reset(d)
		}
		select {
		case <-ctx.Done():
			return
		case <-l.poke:
		case <-timer.C:
		}
		l.turn(ctx)
	}
}

// sleep is how long to wait for what comes in; below 0: for ever.
func (l *loop) sleep() time.Duration {
	at := l.nextTime()
	if at.IsZero() {
		return -1
	}
	return min(max(at.Sub(l.now()), 0), lookAgain)
}

// nextTime is when to work though nothing comes in.
func (l *loop) nextTime() time.Time {
	if l.broken != nil {
		return l.retryAt
	}
	if !l.drained.IsZero() && (l.wake.IsZero() || l.drained.Before(l.wake)) {
		return l.drained
	}
	return l.wake
}

// close answers whoever still asks.
func (l *loop) close() {
	l.mu.Lock()
	asked := l.asked
	l.asked, l.closed = nil, true
	close(l.gone)
	l.mu.Unlock()
	l.sweeps.Wait()
	for _, a := range asked {
		a.done <- answered{err: errLeaves}
	}
}

// turn takes all that came in, decides, writes, and acts.
func (l *loop) turn(ctx context.Context) {
	l.mu.Lock()
	asked, devices := l.asked, l.devices
	l.asked, l.devices = nil, nil
	waits := l.broken != nil && l.now().Before(l.retryAt)
	var events []queue.Event
	if !waits {
		events, l.events = l.events, nil
	}
	l.mu.Unlock()
	if devices != nil {
		l.limits.GPUs, l.limits.GPUsUnknown, l.limits.Sharing = devices.GPUs, devices.Unknown, devices.Sharing
	}
	defer func() { // who asked what makes it panic is answered like the others
		if p := recover(); p != nil {
			l.answer(asked, unwritten{errPanic})
			panic(p)
		}
	}()
	if waits {
		for _, a := range asked {
			if a.look != nil {
				a.look(l.plan)
				a.done <- answered{}
			} else {
				a.done <- answered{err: l.broken}
			}
		}
		return
	}
	if l.broken != nil { // the plan has what was not written: the journal counts
		l.broken = nil
		if err := l.load(ctx); err != nil {
			l.fails(err, events)
			l.answer(asked, l.broken)
			return
		}
	}
	inputs := l.lapse()
	if devices != nil {
		inputs = append(inputs, *devices)
	}
	for _, e := range events {
		inputs = append(inputs, plan.Happened{Event: e})
	}
	type waiter struct {
		*ask
		from, to int // of inputs
	}
	var waiters []waiter
	for _, a := range asked {
		if a.look != nil {
			a.look(l.plan)
			a.done <- answered{}
			continue
		}
		more, err := a.inputs(ctx)
		if err != nil && !errors.As(err, new(*api.Error)) {
			err = unwritten{err}
		}
		if err != nil || len(more) == 0 {
			a.done <- answered{err: err}
			continue
		}
		waiters = append(waiters, waiter{a, len(inputs), len(inputs) + len(more)})
		inputs = append(inputs, more...)
	}
	out := l.plan.Do(l.now(), inputs...)
	if err := l.commit(ctx, out); err != nil {
		l.fails(err, events)
		for _, w := range waiters {
			w.done <- answered{err: l.broken}
		}
		return
	}
	for _, w := range waiters {
		answer := answered{out.Answers[w.from].ID, out.Answers[w.from].Err}
		for _, o := range out.Answers[w.from:w.to] {
			if o.Err == nil {
				answer.err = nil
			}
		}
		w.done <- answer
	}
	for _, e := range events {
		if e.Refused != nil {
			l.gpus.sayAnew()
		}
	}
	l.trim(ctx)
}

// trim forgets the oldest jobs that are done. The folders of their runs go before, so that none is left of what nobody
// knows.
func (l *loop) trim(ctx context.Context) {
	l.mu.Lock()
	cleared := l.cleared
	l.cleared = nil
	l.mu.Unlock()
	if len(cleared) > 0 {
		if err := l.journal.Forget(ctx, cleared); err != nil {
			l.log.Warn("the history of jobs is not trimmed", "error", err)
		}
	}
	if l.ended < trimAfter {
		return
	}
	l.ended = 0
	old, err := l.journal.Old(ctx, journal.Limits{Jobs: l.keep})
	if err != nil {
		l.log.Warn("the history of jobs is not trimmed", "error", err)
		return
	}
	l.sweeps.Go(func() { // logs may be large
		l.dropTaken(ctx)
		for _, n := range old {
			if ctx.Err() != nil {
				return
			}
			if err := os.RemoveAll(l.jobDir(n)); err != nil {
				l.log.Warn("the runs of an old job are not removed", "job", n, "error", err)
				continue
			}
			l.mu.Lock()
			l.cleared = append(l.cleared, n)
			l.mu.Unlock()
		}
		l.nudge()
	})
}

func (l *loop) answer(asked []*ask, err error) {
	for _, a := range asked {
		select {
		case a.done <- answered{err: err}:
		default: // it was answered
		}
	}
}

// unwritten is why a change could not be written, or the journal not be read: nothing that was asked for is wrong.
type unwritten struct{ error }

func (u unwritten) Unwrap() error { return u.error }

// fails notes that a change could not be written. What runs have become is kept for the next try: it also stands in
// their folders.
func (l *loop) fails(err error, events []queue.Event) {
	l.log.Error("the queue can't be written", "error", err)
	l.broken, l.retryAt = unwritten{err}, l.now().Add(brokenPause)
	l.mu.Lock()
	l.events = append(events, l.events...)
	l.mu.Unlock()
}

// commit writes what was decided, and acts.
func (l *loop) commit(ctx context.Context, out plan.Outcome) error {
	l.rules.owe(out.Changes, l.now())
	// Nobody's end keeps a decision from being written.
	if err := l.journal.Commit(context.WithoutCancel(ctx), out.Changes); err != nil {
		return err
	}
	l.wake = out.Wake
	l.gpus.meter.note(l.now(), l.plan.HeldGPUs())
	l.gpus.want(l.plan.WantsGPUs())
	l.tellChanged(len(out.Changes) > 0)
	if out.Services {
		l.healths.look()
	}
	l.settleSecrets(out.Changes)
	for _, c := range out.Changes {
		if len(c.Status.Owed) > 0 {
			l.owes()
		}
		if c.Status.State.Done() && !c.ID.Element {
			l.ended++
		}
	}
	fresh := map[queue.ID]*queue.Change{} // jobs that are begun as soon as they are taken: they need not be read again
	for i := range out.Changes {
		if c := &out.Changes[i]; c.Spec != nil && len(out.Actions) > 0 {
			fresh[c.ID] = c
		}
	}
	for _, a := range out.Actions {
		if err := l.act(ctx, a, fresh[a.ID]); err != nil {
			// The journal is right: it is taken up anew, with all that is to be done.
			l.fails(fmt.Errorf("job %s: %s: %w", a.ID, a.Do, err), nil)
		}
	}
	return nil
}

// tellChanged wakes those who wait for a change, where there was one.
func (l *loop) tellChanged(was bool) {
	if !was {
		return
	}
	l.mu.Lock()
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
}

// owes wakes who tells others of ends.
func (l *loop) owes() {
	l.mu.Lock()
	close(l.owed)
	l.owed = make(chan struct{})
	l.mu.Unlock()
}

// act does one thing with a run. fresh is its job where that was just taken; else it is read.
func (l *loop) act(ctx context.Context, a plan.Action, fresh *queue.Change) error {
	var job queue.Job
	if fresh != nil {
		job = queue.Job{ID: fresh.ID, Spec: *fresh.Spec, Status: fresh.Status}
	} else {
		var found bool
		var err error
		job, found, err = l.journal.Job(ctx, a.ID)
		if err == nil && !found {
			err = errors.New("the journal has no such job")
		}
		if err != nil {
			return err
		}
	}
	r := l.runOf(&job, a.Attempt)
	switch a.Do {
	case plan.DoStart:
		if job.Spec.Service != nil {
			l.dropRun(a.ID, a.Attempt-keepRuns)
		}
		l.runner.Start(ctx, r)
	case plan.DoAdopt:
		l.runner.Adopt(ctx, r)
	case plan.DoSignal:
		l.runner.Signal(ctx, r, a.Signal)
	}
	return nil
}

// runOf is a run of a job as the runner gets it.
func (l *loop) runOf(job *queue.Job, attempt int) queue.Run {
	return queue.Run{ID: job.ID, Attempt: attempt, Spec: job.Spec.Of(job.ID), Dir: l.runDir(job.ID, attempt),
		GPUs: job.GPUs, Begun: !job.StartedAt.IsZero()}
}

// runDir is a run's folder: all of a job, and of an array, are below one.
func (l *loop) runDir(id queue.ID, attempt int) string {
	name := strconv.Itoa(attempt)
	if id.Element {
		name = strconv.Itoa(id.Index) + "." + name
	}
	return filepath.Join(l.jobDir(id.Number), name)
}

func (l *loop) jobDir(number int64) string {
	return filepath.Join(l.runs, strconv.FormatInt(number, 10))
}
