package run

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"berth/backend/agent/process"
	"berth/backend/agent/shim"
	"berth/gpu/procs/proc"
	"berth/queue"
)

// Signal implements queue.Runner. A run's signals are sent one after the other. One that is told to end before it has
// begun does not begin.
func (r *Runner) Signal(ctx context.Context, q queue.Run, s queue.Signal) {
	r.mu.Lock()
	x := r.runs[key{q.ID, q.Attempt}]
	r.mu.Unlock()
	if x == nil {
		return // it is over
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.rec == nil && s.Name != "STOP" && s.Name != "CONT" && !strings.HasPrefix(s.Name, "USR") {
		x.ended = s.Name
		x.cancel()
	}
	x.pending = append(x.pending, s)
	if len(x.pending) > 1 {
		return
	}
	r.wg.Go(func() {
		r.h.Contain("the signals of job "+q.ID.String(), func() { x.sendAll(ctx) })
	})
}

// sendAll sends what is pending.
func (x *run) sendAll(ctx context.Context) {
	select {
	case <-x.began:
	case <-ctx.Done():
	}
	for {
		x.mu.Lock()
		rec, s := x.rec, x.pending[0]
		x.mu.Unlock()
		if rec != nil && ctx.Err() == nil {
			x.awaitChild(ctx, rec)
			if err := x.act(func() error { return x.send(ctx, *rec, s) }); err != nil {
				x.r.h.Log.Warn("a job could not be signalled", "job", x.ID.String(), "signal", s.Name, "err", err)
			}
		}
		x.mu.Lock()
		x.pending = x.pending[1:]
		done := len(x.pending) == 0
		x.mu.Unlock()
		if done {
			return
		}
	}
}

// act does something to the run's processes, unless it is over.
func (x *run) act(do func() error) error {
	x.acting.Lock()
	defer x.acting.Unlock()
	if x.over {
		return nil
	}
	return do()
}

// letGo leaves the run's shim to other runs, where nothing is left of this one and nobody looks for it.
func (x *run) letGo() {
	line := x.line
	if line == nil {
		return
	}
	x.line = nil
	if !x.acting.TryLock() {
		line.Drop()
		return
	}
	x.over = true
	x.acting.Unlock()
	line.Release()
}

// awaitChild waits until the main process is known: the shim may be about to start it.
func (x *run) awaitChild(ctx context.Context, rec *process.Record) {
	for rec.Child.PID == 0 && rec.Shim.Alive() && ctx.Err() == nil {
		if now, err := process.ReadRecord(x.againDir(x.lastAgain()), process.RecordName); err == nil {
			x.mu.Lock()
			*rec = now
			x.mu.Unlock()
		}
		pause(ctx, lineWait)
	}
}

func (x *run) send(ctx context.Context, rec process.Record, s queue.Signal) error {
	if x.Spec.Image != "" {
		return x.sendContainer(ctx, rec, s)
	}
	sig, ok := shim.ParseSignal(s.Name)
	switch {
	case !ok:
		return errors.New("there is no such signal")
	case s.Scope == queue.Leader:
		return process.SignalLeader(rec.Child, sig)
	case sig == syscall.SIGKILL:
		left, err := rec.Set().End(ctx, 0, nil)
		if len(left) > 0 {
			err = errors.Join(err, errors.New("some processes could not be ended: "+proc.CommandOf(left[0].PID)))
		}
		return err
	}
	// Again, until there are no new ones: what is not stopped yet may fork.
	var errs []error
	sent := map[proc.Identity]bool{}
	for fresh := true; fresh && ctx.Err() == nil; {
		fresh = false
		members, err := rec.Set().Members()
		if err != nil {
			return err
		}
		for _, m := range members {
			if !sent[m] {
				sent[m], fresh = true, sig == syscall.SIGSTOP
				errs = append(errs, process.Signal(m, sig))
			}
		}
	}
	return errors.Join(errs...)
}
