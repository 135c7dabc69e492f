package setup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"berth/backend/agent/part"
	"berth/backend/agent/root"
	"berth/backend/api"
	"berth/backend/base/atomicfile"
	"berth/backend/base/coalesce"
	"berth/gpu/procs/proc"
)

const (
	defaultLimit = time.Hour
	maxLimit     = 24 * time.Hour
	// pollWait is how long a status that does not change is waited for.
	pollWait = 25 * time.Second
	// keep is how many plans an agent remembers.
	keep = 20
	// cutLimit is how often a step may be cut off before it counts as failed.
	cutLimit = 3
)

// Options is what an engine is told. Zero durations and functions mean the usual ones.
type Options struct {
	Dir    string                                                // where the plans lie
	Runner func(folder, step, attempt string) []string           // the command line of a runner
	Env    func(ctx context.Context, root bool) ([]string, bool) // what steps run with; false: not known yet
	Work   string                                                // where steps that are not root's begin
	Root   root.Caller                                           // how root's steps are run
	// NoReboot says why this machine is never restarted; empty: it may be.
	NoReboot string
	Boot     string                          // this boot of the machine
	Reboot   func(ctx context.Context) error // restarts the machine
	// BeforeReboot sees to it that the set-up goes on after a restart; nil: there is nothing to do.
	BeforeReboot func(ctx context.Context)
	// RebootLimit is how long the machine may take to go down.
	RebootLimit time.Duration
	Grace       time.Duration         // between SIGTERM and SIGKILL of a step that is ended
	Settle      time.Duration         // how long a step that a signal ended is not judged
	Poll        time.Duration         // how often a running step is looked at
	Changed     func(api.SetupStatus) // called when a step begins or ends
	Log         *slog.Logger
}

// Engine runs plans, one at a time, oldest first. All of its methods may be called at once.
type Engine struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	wake   coalesce.Signal // there may be something to do

	mu    sync.Mutex
	plans map[string]*plan
}

// plan is one plan and how far it is. The record belongs to the engine's mutex.
type plan struct {
	dir     string
	plan    api.SetupPlan
	rec     record
	dirty   bool          // the record is not on disk
	changed chan struct{} // closed, and made anew, with each revision
}

// Open reads the plans that are there. Start lets them go on.
func Open(o Options) (*Engine, error) {
	o.Boot = cmp.Or(o.Boot, proc.BootID())
	o.RebootLimit = cmp.Or(o.RebootLimit, 5*time.Minute)
	o.Grace = cmp.Or(o.Grace, 10*time.Second)
	o.Settle = cmp.Or(o.Settle, 3*time.Second)
	o.Poll = cmp.Or(o.Poll, 100*time.Millisecond)
	if o.Changed == nil {
		o.Changed = func(api.SetupStatus) {}
	}
	e := &Engine{o: o, done: make(chan struct{}), wake: coalesce.NewSignal(), plans: map[string]*plan{}}
	if o.Reboot == nil {
		e.o.Reboot = e.restartMachine
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	entries, err := os.ReadDir(o.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("reading the set-ups of this instance: %w", err)
	}
	for _, d := range entries {
		dir := filepath.Join(o.Dir, d.Name())
		p, err := loadPlan(dir)
		if err == nil && p.plan.ID != d.Name() {
			err = fmt.Errorf("it holds the set-up %s", p.plan.ID)
		}
		if errors.Is(err, os.ErrNotExist) {
			_ = os.RemoveAll(dir) // it was being written when the agent ended: nobody was told that it is there
			continue
		}
		if err != nil {
			o.Log.Warn("a set-up can't be read and is left alone", "folder", dir, "err", err)
			continue
		}
		e.plans[p.plan.ID] = p
	}
	e.revive()
	return e, nil
}

// Start lets the plans go on, until Stop.
func (e *Engine) Start() { go e.run() }

// Stop ends the engine, not the step that runs: the next engine of the folder finds it.
func (e *Engine) Stop() {
	e.mu.Lock() // no call is half done
	e.cancel()
	e.mu.Unlock()
	<-e.done
}

// Busy reports whether a plan is under way.
func (e *Engine) Busy() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.next() != nil
}

// End ends the step that runs, without ending its plan as cancelled: its step fails. It is for an instance
// that is stopped with all that runs on it. The engine must be stopped.
func (e *Engine) End(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.plans {
		for i := range p.plan.Steps {
			if p.rec.Steps[i].State == api.OpRunning && p.rec.Attempts[i] > 0 {
				e.endRunner(ctx, p, i, p.rec.Attempts[i])
			}
		}
	}
}

// Check says what is wrong with a plan.
func (e *Engine) Check(pl api.SetupPlan) error { return checkPlan(&pl) }

// keepWith runs f, which writes what an engine of a later agent reads, unless that is about to begin.
func (e *Engine) keepWith(f func() error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return part.ErrLeaving()
	}
	return f()
}

// Put begins a plan, or returns the status of the one with this id.
func (e *Engine) Put(pl api.SetupPlan) (api.SetupStatus, error) {
	if err := checkPlan(&pl); err != nil {
		return api.SetupStatus{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return api.SetupStatus{}, part.ErrLeaving()
	}
	if p := e.plans[pl.ID]; p != nil {
		return p.status(), nil
	}
	e.forgetOld()
	p := &plan{dir: filepath.Join(e.o.Dir, pl.ID), plan: pl, rec: newRecord(&pl), changed: make(chan struct{})}
	err := os.MkdirAll(p.dir, 0o700)
	if err == nil {
		err = atomicfile.Write(filepath.Join(p.dir, statusFile), p.rec)
	}
	if err == nil { // last: a folder with a plan is a plan
		err = atomicfile.Write(filepath.Join(p.dir, planFile), pl)
	}
	if err == nil {
		err = atomicfile.SyncDir(e.o.Dir)
	}
	if err != nil {
		_ = os.RemoveAll(p.dir)
		return api.SetupStatus{}, api.Errorf(api.CodeFailed, "writing the set-up %s on the instance: %w", pl.ID, err).
			WithHint("look at the space on its disk: df -h %s", e.o.Dir)
	}
	e.plans[pl.ID] = p
	e.wake.Send()
	return p.status(), nil
}

// forgetOld removes the oldest plans that have ended, those that have failed last: they may be resumed.
func (e *Engine) forgetOld() {
	for len(e.plans) >= keep {
		var old *plan
		good := false
		for _, p := range e.plans {
			won := p.rec.State == api.OpSucceeded
			if p.rec.State.Done() && (old == nil || won && !good || won == good && p.rec.CreatedAt.Before(old.rec.CreatedAt)) {
				old, good = p, won
			}
		}
		if old == nil {
			return
		}
		_ = os.Remove(filepath.Join(old.dir, planFile)) // first: half a folder is then no plan
		_ = os.RemoveAll(old.dir)
		delete(e.plans, old.plan.ID)
	}
}

func (e *Engine) find(id string) (*plan, error) {
	p := e.plans[id]
	if p == nil {
		return nil, api.Errorf(api.CodeNotFound, "the instance has no set-up %.100q", id)
	}
	return p, nil
}

// Get returns a plan's status: at once if its revision is not after, else when it changes, or after a
// while.
func (e *Engine) Get(ctx context.Context, id string, after int64) (api.SetupStatus, error) {
	t := time.NewTimer(pollWait)
	defer t.Stop()
	for {
		e.mu.Lock()
		p, err := e.find(id)
		if err != nil {
			e.mu.Unlock()
			return api.SetupStatus{}, err
		}
		st, c := p.status(), p.changed
		e.mu.Unlock()
		if st.Revision != after {
			return st, nil
		}
		select {
		case <-c:
		case <-t.C:
			return st, nil
		case <-e.ctx.Done():
			return st, nil
		case <-ctx.Done():
			return st, ctx.Err()
		}
	}
}

// Resume lets a plan go on that failed or was cancelled, with the step where it ended.
func (e *Engine) Resume(id string) (api.SetupStatus, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, err := e.find(id)
	if err == nil && e.ctx.Err() != nil {
		err = part.ErrLeaving()
	}
	if err != nil {
		return api.SetupStatus{}, err
	}
	if p.rec.State != api.OpFailed && p.rec.State != api.OpCancelled {
		return p.status(), nil
	}
	e.change(p, true, func(r *record) {
		r.State, r.EndedAt, r.Error, r.Cancel, r.Log, r.LogPath = api.OpRunning, nil, nil, false, "", ""
		for i := range r.Steps {
			if s := &r.Steps[i]; s.State == api.OpFailed || s.State == api.OpCancelled {
				s.State, s.Message, s.EndedAt, s.StartedAt = api.OpPending, "", nil, nil
				r.Resumed[i] = r.Attempts[i]
				r.Attempts[i]++ // a new one: what the last one left is not looked at again
			}
		}
	})
	e.wake.Send()
	return p.status(), nil
}

// Cancel ends a plan and the step that runs. One that failed does not go on after a restart of the machine then.
func (e *Engine) Cancel(ctx context.Context, id string) (api.SetupStatus, error) {
	e.mu.Lock()
	p, err := e.find(id)
	if err == nil && e.ctx.Err() != nil {
		err = part.ErrLeaving()
	}
	if err != nil {
		e.mu.Unlock()
		return api.SetupStatus{}, err
	}
	if p.rec.State == api.OpFailed && p.rec.AskedBoot != "" {
		e.change(p, true, func(r *record) { r.AskedBoot, r.AskedAt = "", time.Time{} })
	}
	if !p.rec.State.Done() && !p.rec.Cancel {
		e.change(p, true, func(r *record) { r.Cancel = true })
	}
	e.mu.Unlock()
	e.wake.Send()
	for {
		e.mu.Lock()
		st, c := p.status(), p.changed
		e.mu.Unlock()
		if st.State.Done() {
			return st, nil
		}
		select {
		case <-c:
		case <-e.ctx.Done():
			// The next agent goes on with the cancelling; asked again, it says how that ended.
			return st, api.Errorf(api.CodeMoved, "the agent ends before the set-up %s has; the next one cancels it", id)
		case <-ctx.Done():
			return st, ctx.Err()
		}
	}
}

// status is a copy of a plan's status.
func (p *plan) status() api.SetupStatus {
	st := p.rec.SetupStatus
	st.Steps = slices.Clone(st.Steps)
	return st
}

// change changes a plan's record, tells who waits and, with keep, writes it down. Where the disk is full
// it stays in memory and is written as soon as that is possible.
func (e *Engine) change(p *plan, keep bool, f func(*record)) {
	f(&p.rec)
	p.rec.Revision++
	close(p.changed)
	p.changed = make(chan struct{})
	if keep || p.dirty {
		e.write(p)
	}
}

func (e *Engine) write(p *plan) {
	err := atomicfile.Write(filepath.Join(p.dir, statusFile), p.rec)
	if err != nil && !p.dirty {
		e.o.Log.Warn("how far a set-up is can't be written", "setup", p.plan.ID, "err", err)
	}
	p.dirty = err != nil
}

// locked is change under the mutex.
func (e *Engine) locked(p *plan, keep bool, f func(*record)) {
	e.mu.Lock()
	e.change(p, keep, f)
	st := p.status()
	e.mu.Unlock()
	if keep {
		e.o.Changed(st)
	}
}

// next is the oldest plan that has not ended, or nil.
func (e *Engine) next() *plan {
	var first *plan
	for _, p := range e.plans {
		if !p.rec.State.Done() && (first == nil || p.rec.CreatedAt.Before(first.rec.CreatedAt) ||
			p.rec.CreatedAt.Equal(first.rec.CreatedAt) && p.plan.ID < first.plan.ID) {
			first = p
		}
	}
	return first
}

// run is the engine's goroutine.
func (e *Engine) run() {
	defer close(e.done)
	for e.ctx.Err() == nil {
		e.mu.Lock()
		p, dirty := e.next(), false
		for _, p := range e.plans {
			dirty = dirty || p.dirty
		}
		e.mu.Unlock()
		if p != nil {
			e.drive(p)
			continue
		}
		var retry <-chan time.Time
		if dirty {
			retry = time.After(5 * time.Second)
		}
		select {
		case <-e.ctx.Done():
		case <-e.wake:
		case <-retry:
			e.mu.Lock()
			for _, p := range e.plans {
				if p.dirty {
					e.write(p)
				}
			}
			e.mu.Unlock()
		}
	}
}

// revive lets plans go on that failed only because the machine had to be restarted by somebody.
func (e *Engine) revive() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.plans {
		if p.rec.State == api.OpFailed && p.rec.AskedBoot != "" && p.rec.AskedBoot != e.o.Boot {
			e.change(p, true, func(r *record) {
				r.State, r.EndedAt, r.Error = api.OpRunning, nil, nil
				for i := range r.Steps {
					if s := &r.Steps[i]; s.State == api.OpFailed {
						s.State, s.Message, s.EndedAt = api.OpRunning, "", nil
					}
				}
			})
		}
	}
}
