package workspace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/store"
)

// The kinds of operations.
const (
	opCreate  = "create"
	opAdopt   = "adopt"
	opStart   = "start"
	opStop    = "stop"
	opRestart = "restart"
	opDelete  = "delete"

	opSetup    = "setup"
	opHostKey  = "hostkey" // begun by the workspace itself, once the machine can be used
	opSnapshot = "snapshot"
	opRestore  = "restore"
	opImage    = "image"
)

// run is an operation under way. op is guarded by Workspace.mu; the other fields do not change.
type run struct {
	op     store.Operation
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the operation has ended or was left to the next daemon
	plan   []step
}

// snapshot copies the operation's document. Workspace.mu must be held.
func (r *run) snapshot() api.Operation {
	op := r.op.Operation
	op.Steps = append([]api.Step{}, op.Steps...)
	return op
}

// record copies the operation's durable record. Workspace.mu must be held.
func (r *run) record() store.Operation {
	op := r.op
	op.Operation = r.snapshot()
	return op
}

// errSuperseded is the cause that ends an operation for another one.
type errSuperseded struct{ by string }

func (e errSuperseded) Error() string { return "given up for " + e.by }

// supersedes says which operations under way a new one ends.
func supersedes(kind, underWay string) bool {
	if underWay == opHostKey {
		return kind != opHostKey // nobody asked for it, and it is begun again
	}
	switch kind {
	case opDelete:
		return underWay != opDelete
	case opStop:
		return underWay == opStart || underWay == opRestart || underWay == opSetup
	}
	return false
}

// begin writes a new operation on e and starts it. rec is the record as it will be while it runs.
// w.mu must be held; c may carry more to be written with it.
func (w *Workspace) begin(ctx context.Context, rec store.Instance, op store.Operation) (*run, error) {
	plan := plans[op.Kind]
	op.State = api.OpRunning
	op.CreatedAt = w.now().UTC()
	op.Actor = backend.CallerFrom(ctx).Actor
	op.InstanceID, op.Instance = rec.ID, rec.Name
	for _, s := range plan {
		op.Steps = append(op.Steps, api.Step{Name: s.name, Title: s.title, State: api.OpPending})
	}
	ev := w.event("operation.begin", "info", &rec, &op.Operation, "", "%s asked for", op.Kind)
	r := &run{op: op, done: make(chan struct{}), plan: plan}
	w.opts.Fault(op.Kind + ".begin.before")
	if err := w.commit(ctx, &store.Change{Instances: []store.Instance{rec}, Operations: []store.Operation{op}, Events: []*api.Event{ev}}); err != nil {
		return nil, err
	}
	w.opts.Fault(op.Kind + ".begin.after")
	w.launch(r, backend.CallerFrom(ctx))
	w.publish(w.entries[rec.ID])
	return r, nil
}

// launch runs r in a goroutine that Close ends. w.mu must be held.
func (w *Workspace) launch(r *run, caller *backend.Caller) {
	e := w.entries[r.op.InstanceID]
	e.run, e.lastOp = r, nil
	w.runs[r.op.ID] = r
	ctx, cancel := context.WithCancelCause(backend.WithCaller(w.ctx, caller))
	r.cancel = cancel
	w.wg.Add(1)
	go func() {
		defer w.wg.Done()
		defer cancel(nil)
		if w.onPanic != nil {
			defer func() {
				if v := recover(); v != nil {
					w.onPanic(v)
				}
			}()
		}
		w.execute(ctx, r)
	}()
}

// Resume goes on with the operations that the last daemon left unfinished.
func (w *Workspace) Resume(ctx context.Context) error {
	ops, err := w.opts.Store.Unfinished(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, op := range ops {
		if w.runs[op.ID] != nil {
			continue // begun since
		}
		if w.entries[op.InstanceID] == nil || plans[op.Kind] == nil {
			// Its instance is gone: the end of a delete was written without this one's.
			op.State, op.EndedAt = api.OpCancelled, ptr(w.now().UTC())
			if err := w.commit(ctx, &store.Change{Operations: []store.Operation{op}}); err != nil {
				return err
			}
			continue
		}
		w.log.Info("resuming an operation", "operation", op.ID, "kind", op.Kind, "instance", op.Instance)
		w.launch(&run{op: op, done: make(chan struct{}), plan: plans[op.Kind]}, &backend.Caller{Actor: op.Actor, Env: w.env})
	}
	for _, e := range w.entries {
		w.renewLater(e)
	}
	return nil
}

func ptr[T any](v T) *T { return &v }

// execute runs the steps that are not done yet and ends the operation.
func (w *Workspace) execute(ctx context.Context, r *run) {
	var err error
	for i := range r.plan {
		if r.op.Steps[i].State == api.OpSucceeded {
			continue // done before a crash
		}
		if err = w.step(ctx, r, i); err != nil {
			break
		}
	}
	if err != nil && errors.Is(context.Cause(ctx), errClosing) {
		w.mu.Lock()
		delete(w.runs, r.op.ID)
		w.mu.Unlock()
		close(r.done)
		return // unfinished in the store; the next daemon goes on
	}
	w.finish(ctx, r, err)
}

// step runs one step within its time limit.
func (w *Workspace) step(ctx context.Context, r *run, i int) error {
	s := r.plan[i]
	point := r.op.Kind + "." + s.name
	w.opts.Fault(point + ".before")
	if err := w.progress(ctx, r, i, api.OpRunning, ""); err != nil {
		return err
	}
	limit := s.limit(w.limits)
	sctx, cancel := context.WithTimeoutCause(ctx, limit, api.Errorf(api.CodeFailed, "%s took longer than %s", s.title, limit))
	err := s.do(sctx, w, r)
	cause := context.Cause(sctx)
	cancel()
	if err != nil {
		// What ended the context explains more than "context deadline exceeded".
		if cause != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
			err = cause
		}
		return err
	}
	if err := w.progress(ctx, r, i, api.OpSucceeded, ""); err != nil {
		return err
	}
	w.opts.Fault(point + ".after")
	return nil
}

// progress records that step i is now in state. It keeps trying while the store can't be written: an
// operation whose progress is unknown must not go on.
func (w *Workspace) progress(ctx context.Context, r *run, i int, state api.OpState, msg string) error {
	w.mu.Lock()
	st := &r.op.Steps[i]
	now := w.now().UTC()
	was := st.State
	st.State, st.Message = state, msg
	switch {
	case state == api.OpRunning && st.StartedAt == nil:
		st.StartedAt = &now
	case state.Done():
		st.EndedAt = &now
	}
	e := w.entries[r.op.InstanceID]
	var evs []*api.Event
	if was != state && e != nil {
		verb := map[api.OpState]string{api.OpRunning: "…", api.OpSucceeded: ": done"}[state]
		evs = append(evs, w.event("operation.step", "info", &e.rec, &r.op.Operation, "", "%s%s", st.Title, verb))
	}
	op := r.record()
	w.mu.Unlock()
	return w.persist(ctx, func() *store.Change { return &store.Change{Operations: []store.Operation{op}, Events: evs} })
}

// persist commits what make returns (called with w.mu held), trying again while the store fails.
func (w *Workspace) persist(ctx context.Context, make func() *store.Change) error {
	wait := 50 * time.Millisecond
	for {
		w.mu.Lock()
		c := make()
		err := w.commit(ctx, c)
		for _, op := range c.Operations {
			if err == nil {
				pub := op.Operation
				w.hub.publish(api.Change{Operation: &pub})
				if e := w.entries[op.InstanceID]; e != nil {
					w.publish(e)
				}
			}
		}
		w.mu.Unlock()
		if err == nil {
			return nil
		}
		w.log.Error("writing the store", "error", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (the store could not be written: %w)", context.Cause(ctx), err)
		case <-time.After(wait):
			wait = min(2*wait, 5*time.Second)
		}
	}
}

// finish ends the operation: succeeded, failed, or cancelled for another one.
func (w *Workspace) finish(ctx context.Context, r *run, err error) {
	var sup errSuperseded
	cancelled := errors.As(err, &sup) || errors.As(context.Cause(ctx), &sup)
	if err != nil && !cancelled {
		w.observeAfterFailure(r)
	}
	// The end is written even though the operation's context may have ended; only Close stops the trying.
	_ = w.persist(w.ctx, func() *store.Change {
		c := &store.Change{}
		now := w.now().UTC()
		r.op.EndedAt = &now
		e := w.entries[r.op.InstanceID]
		rec := e.rec
		switch {
		case err == nil:
			r.op.State = api.OpSucceeded
			if (r.op.Kind == opStart || r.op.Kind == opRestart) && rec.State.Changing() {
				w.setState(&rec, api.StateRunning, "")
				if rec.SetupFailed != "" {
					w.setState(&rec, api.StateSetupFailed, rec.SetupFailed)
				}
			}
			c.Events = append(c.Events, w.event("operation.done", "info", &rec, &r.op.Operation, "", "%s: done in %s", r.op.Kind, brief(now.Sub(r.op.CreatedAt))))
		case cancelled:
			r.op.State = api.OpCancelled
			r.op.Error = &api.Error{Code: api.CodeCancelled, Message: fmt.Sprintf("%s of %s: %s", r.op.Kind, rec.Name, sup.Error())}
			level := "warn"
			if r.op.Kind == opHostKey {
				level = "info"
			}
			c.Events = append(c.Events, w.event("operation.done", level, &rec, &r.op.Operation, "", "%s: %s", r.op.Kind, sup.Error()))
		default:
			r.op.State = api.OpFailed
			r.op.Error = api.AsError(err)
			for i := range r.op.Steps {
				if r.op.Steps[i].State == api.OpRunning {
					r.op.Steps[i].State, r.op.Steps[i].Message, r.op.Steps[i].EndedAt = api.OpFailed, err.Error(), &now
				}
			}
			level := "error"
			if r.op.Kind == opHostKey { // nobody waits for it
				level = "warn"
			}
			c.Events = append(c.Events, w.event("operation.done", level, &rec, &r.op.Operation, "", "%s failed: %s", r.op.Kind, err.Error()))
			w.failed(r, &rec)
		}
		if rec.IdleSince != nil && r.op.Kind != opHostKey && r.op.Kind != opAdopt {
			t := now.Truncate(time.Second) // somebody asked for it: that long it was not left alone
			rec.IdleSince = &t
		}
		c.Operations = []store.Operation{r.op}
		switch {
		case r.op.Kind == opDelete && err == nil, r.op.Kind == opAdopt && err != nil && !cancelled:
			c.RemoveInstances = []string{rec.ID} // gone, or never taken in
		default:
			c.Instances = []store.Instance{rec}
		}
		if e.run == r {
			e.run = nil
			if r.op.State == api.OpFailed && r.op.Kind != opHostKey {
				e.lastOp = ptr(r.snapshot())
			}
		}
		return c
	})
	w.opts.Fault(r.op.Kind + ".end.after")
	w.mu.Lock()
	delete(w.runs, r.op.ID)
	if e := w.entries[r.op.InstanceID]; !cancelled && r.op.Kind != opHostKey && e != nil {
		w.renewLater(e)
	}
	w.mu.Unlock()
	close(r.done)
}

// failed sets the state that an instance has after its operation failed. w.mu is held.
func (w *Workspace) failed(r *run, rec *store.Instance) {
	msg := r.op.Error.Message
	switch {
	case r.stepFailed("setup"):
		rec.SetupFailed = msg
		if r.scriptFailed() {
			finished(rec) // scripts come last
		}
		w.setState(rec, api.StateSetupFailed, msg)
	case r.stepFailed("onstart"):
		if rec.SetupFailed == "" { // what --resume goes on with; an older failure comes first
			setLast(rec, store.Setup{ID: startPlan(rec, r), Script: true, Failed: msg})
		}
		w.setState(rec, api.StateSetupFailed, rec.SetupFailed)
	case r.stepFailed("agent") && rec.ProviderID != "" && !rec.Adopted:
		rec.Unreached = msg
		w.setState(rec, api.StateUnusable, msg)
	case r.op.Kind == opCreate:
		w.setState(rec, api.StateCreateFailed, msg)
	case rec.State.Changing():
		// The provider could not be asked what it is now.
		w.setState(rec, api.StateUnknown, msg)
	}
}

func (r *run) stepFailed(name string) bool {
	for _, s := range r.op.Steps {
		if s.Name == name && s.State == api.OpFailed {
			return true
		}
	}
	return false
}

// scriptFailed reports whether a set-up came as far as its scripts, which stand after the profiles' steps.
func (r *run) scriptFailed() bool {
	for _, s := range r.op.Steps {
		for _, p := range s.Parts {
			if s.Name == "setup" && p.State == api.OpFailed && (p.Name == "script" || p.Name == "onstart") {
				return true
			}
		}
	}
	return false
}

// observeAfterFailure asks the provider once what has become of the machine; a failed adoption it undoes.
func (w *Workspace) observeAfterFailure(r *run) {
	ctx, cancel := context.WithTimeout(w.ctx, min(w.limits.Call, 10*time.Second))
	defer cancel()
	switch r.op.Kind {
	case opCreate:
		return
	case opAdopt:
		// It was not taken in after all: the backend forgets it as well.
		if b, rec, err := w.target(r); err == nil && rec.ProviderID != "" {
			if err := b.Delete(ctx, ref(&rec)); err != nil {
				w.log.Error("undoing an adoption", "instance", rec.Name, "error", err)
			}
		}
		return
	}
	w.observe(ctx, r.op.InstanceID, r, false)
}

// brief formats a duration for people: 240ms, 3.2s, 4m10s.
func brief(d time.Duration) string {
	switch {
	case d < 0:
		return "0s" // the clock jumped
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// Operation returns an operation, under way or ended.
func (w *Workspace) Operation(ctx context.Context, id string) (api.Operation, error) {
	w.mu.Lock()
	if r := w.runs[id]; r != nil {
		op := r.snapshot()
		w.mu.Unlock()
		return op, nil
	}
	w.mu.Unlock()
	op, err := w.opts.Store.Operation(ctx, id)
	return op.Operation, err
}

// Operations lists the operations under way, oldest first.
func (w *Workspace) Operations() []api.Operation {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := []api.Operation{}
	for _, r := range w.runs {
		out = append(out, r.snapshot())
	}
	sortOperations(out)
	return out
}
