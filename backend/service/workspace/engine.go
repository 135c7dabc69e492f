package workspace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
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

// run is an operation under way. op is guarded by Workspace.mu, and is what the store has of it: commit changes it
// (and note what is only shown), while the operation's own goroutine may read it as it likes. The other fields do not
// change.
type run struct {
	op     store.Operation // its first steps are those of plan
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the operation has ended or was left to the next daemon
	plan   []step
	said   []string // what another build's steps could not be matched to, to be written
	// resumed: a daemon before this one began it.
	resumed bool
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
	op.Warnings = slices.Clip(op.Warnings)
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
	if w.ctx.Err() != nil {
		return nil, api.Errorf(api.CodeUnreachable, "%w: %s of %s is not begun", errClosing, op.Kind, rec.Name)
	}
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
		w.operate(ctx, r)
	}()
}

// operate carries an operation out and ends it. A panic in it is a failure like others.
func (w *Workspace) operate(ctx context.Context, r *run) {
	what := r.op.Kind + " of " + r.op.Instance
	err := w.guard(what, func() error { return w.execute(ctx, r) })
	closing := err != nil && errors.Is(context.Cause(ctx), errClosing)
	if !closing && w.guard("the end of the "+what, func() error { w.finish(ctx, r, err); return nil }) == nil {
		return
	}
	// Unfinished in the store; the next daemon goes on.
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.runs, r.op.ID)
	if e := w.entries[r.op.InstanceID]; e != nil && e.run == r {
		e.run = nil
	}
	close(r.done)
}

func ptr[T any](v T) *T { return &v }

// execute runs the steps that are not done yet.
func (w *Workspace) execute(ctx context.Context, r *run) error {
	if err := w.sayUnmatched(ctx, r); err != nil {
		return err
	}
	for i := range r.plan {
		if st := r.op.Steps[i].State; st == api.OpSucceeded || st == api.OpSkipped {
			continue // done before a crash, or passed over
		}
		if err := w.step(ctx, r, i); err != nil {
			return err
		}
	}
	return nil
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
	return w.keepOp(ctx, r, func(rec *store.Instance, op *store.Operation) []*api.Event {
		st := &op.Steps[i]
		now := w.now().UTC()
		was := st.State
		st.State, st.Message = state, msg
		switch {
		case state == api.OpRunning:
			st.EndedAt = nil
			if st.StartedAt == nil {
				st.StartedAt = &now
			}
		case state.Done():
			st.EndedAt = &now
		}
		if was == state {
			return nil
		}
		verb := map[api.OpState]string{api.OpRunning: "…", api.OpSucceeded: ": done"}[state]
		return []*api.Event{w.event("operation.step", "info", rec, &op.Operation, "", "%s%s", st.Title, verb)}
	})
}

// keepOp writes what change makes of a copy of r's operation, with the events that it returns. change sees the record
// of the instance, and must leave it as it is.
func (w *Workspace) keepOp(ctx context.Context, r *run, change func(*store.Instance, *store.Operation) []*api.Event) error {
	return w.persist(ctx, func() *store.Change {
		op, rec := r.record(), w.recordOf(r)
		evs := change(&rec, &op)
		return &store.Change{Operations: []store.Operation{op}, Events: evs}
	})
}

// recordOf is a copy of the record of r's instance; of one that is gone, its names. w.mu must be held.
func (w *Workspace) recordOf(r *run) store.Instance {
	if e := w.entries[r.op.InstanceID]; e != nil {
		return e.rec
	}
	return store.Instance{Instance: api.Instance{ID: r.op.InstanceID, Name: r.op.Instance}}
}

// persist commits what make returns, trying again while the store fails. make is called with w.mu held, for each try
// anew, and works on copies: what is in memory changes when the store has accepted it (commit), and not before.
func (w *Workspace) persist(ctx context.Context, make func() *store.Change) error {
	try := func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.commit(ctx, make())
	}
	wait := 50 * time.Millisecond
	for {
		err := try()
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
		_ = w.guard("looking at "+r.op.Instance, func() error { w.observeAfterFailure(r); return nil }) // it is in the log
	}
	// The end is written even though the operation's context may have ended; only Close stops the trying.
	_ = w.persist(w.ctx, func() *store.Change { return w.ending(r, err, cancelled, sup) })
	w.opts.Fault(r.op.Kind + ".end.after")
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.runs, r.op.ID)
	if e := w.entries[r.op.InstanceID]; !cancelled && r.op.Kind != opHostKey && e != nil {
		w.renewLater(e)
	}
	close(r.done)
}

// ending is the change that ends an operation. w.mu must be held.
func (w *Workspace) ending(r *run, err error, cancelled bool, sup errSuperseded) *store.Change {
	c := &store.Change{}
	now := w.now().UTC()
	op, rec := r.record(), w.recordOf(r)
	op.EndedAt = &now
	switch {
	case err == nil:
		op.State = api.OpSucceeded
		if (op.Kind == opStart || op.Kind == opRestart) && rec.State.Changing() {
			w.setState(&rec, api.StateRunning, "")
			if rec.SetupFailed != "" {
				w.setState(&rec, api.StateSetupFailed, rec.SetupFailed)
			}
		}
		c.Events = append(c.Events, w.event("operation.done", "info", &rec, &op.Operation, "", "%s: done in %s", op.Kind, brief(now.Sub(op.CreatedAt))))
	case cancelled:
		op.State = api.OpCancelled
		op.Error = &api.Error{Code: api.CodeCancelled, Message: fmt.Sprintf("%s of %s: %s", op.Kind, rec.Name, sup.Error())}
		level := "warn"
		if op.Kind == opHostKey {
			level = "info"
		}
		c.Events = append(c.Events, w.event("operation.done", level, &rec, &op.Operation, "", "%s: %s", op.Kind, sup.Error()))
	default:
		op.State = api.OpFailed
		op.Error = api.AsError(err)
		for i := range op.Steps {
			if op.Steps[i].State == api.OpRunning {
				op.Steps[i].State, op.Steps[i].Message, op.Steps[i].EndedAt = api.OpFailed, err.Error(), &now
			}
		}
		level := "error"
		if op.Kind == opHostKey { // nobody waits for it
			level = "warn"
		}
		c.Events = append(c.Events, w.event("operation.done", level, &rec, &op.Operation, "", "%s failed: %s", op.Kind, err.Error()))
		w.failed(&op, &rec)
	}
	if rec.IdleSince != nil && op.Kind != opHostKey && op.Kind != opAdopt {
		t := now.Truncate(time.Second) // somebody asked for it: that long it was not left alone
		rec.IdleSince = &t
	}
	c.Operations = []store.Operation{op}
	switch {
	case w.entries[rec.ID] == nil: // it is gone already
	case op.Kind == opDelete && err == nil, op.Kind == opAdopt && err != nil && !cancelled:
		c.RemoveInstances = []string{rec.ID} // gone, or never taken in
	default:
		c.Instances = []store.Instance{rec}
	}
	return c
}

// failed sets the state that an instance has after its operation failed. w.mu is held.
func (w *Workspace) failed(op *store.Operation, rec *store.Instance) {
	msg := op.Error.Message
	switch {
	case stepFailed(op, "setup"):
		rec.SetupFailed = msg
		if scriptFailed(op) {
			finished(rec) // scripts come last
		}
		w.setState(rec, api.StateSetupFailed, msg)
	case stepFailed(op, "onstart"):
		if rec.SetupFailed == "" { // what --resume goes on with; an older failure comes first
			setLast(rec, store.Setup{ID: startPlan(rec, op), Script: true, Failed: msg})
		}
		w.setState(rec, api.StateSetupFailed, rec.SetupFailed)
	case stepFailed(op, "agent") && rec.ProviderID != "" && !rec.Adopted:
		rec.Unreached = msg
		w.setState(rec, api.StateUnusable, msg)
	case op.Kind == opCreate:
		w.setState(rec, api.StateCreateFailed, msg)
	case rec.State.Changing():
		// The provider could not be asked what it is now.
		w.setState(rec, api.StateUnknown, msg)
	}
}

func stepFailed(op *store.Operation, name string) bool {
	for _, s := range op.Steps {
		if s.Name == name && s.State == api.OpFailed {
			return true
		}
	}
	return false
}

// scriptFailed reports whether a set-up came as far as its scripts, which stand after the profiles' steps.
func scriptFailed(op *store.Operation) bool {
	for _, s := range op.Steps {
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
			if _, err := within(ctx, w, "undoing the adoption of "+rec.Name, func(ctx context.Context) (struct{}, error) { return struct{}{}, b.Delete(ctx, ref(&rec)) }); err != nil {
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
