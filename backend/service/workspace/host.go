package workspace

import (
	"context"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// host is the workspace as the engine of operations sees it: it keeps their documents beside those of the instances.
type host struct{ w *Workspace }

var _ operation.Host = host{}

// Write implements operation.Host.
func (h host) Write(ctx context.Context, r *operation.Run, change func(*store.Operation) []*api.Event) error {
	return h.w.persist(ctx, r.InstanceID, func(*entry) *store.Change {
		op := r.Record()
		evs := change(&op)
		return &store.Change{Operations: []store.Operation{op}, Events: evs}
	})
}

// End implements operation.Host: with the end of an operation what it means for the instance is written.
func (h host) End(ctx context.Context, r *operation.Run, change func(*store.Operation) []*api.Event) error {
	w := h.w
	return w.persist(ctx, r.InstanceID, func(e *entry) *store.Change {
		op := r.Record()
		if op.State.Done() { // it was written, though the store said that it failed (reread)
			return &store.Change{}
		}
		c := &store.Change{Events: change(&op)}
		c.Operations = []store.Operation{op}
		if e == nil { // it is gone already
			return c
		}
		if op.Kind == opDelete && op.State == api.OpSucceeded || op.Kind == opAdopt && op.State == api.OpFailed {
			// gone, or never taken in
			c.RemoveInstances = []store.Removal{{ID: e.rec.ID, Revision: e.rec.Revision}}
			return c
		}
		rec := e.rec
		w.afterwards(&op, &rec)
		c.Instances = []store.Instance{rec}
		return c
	})
}

// afterwards makes the record of an instance what it is when an operation has ended.
func (w *Workspace) afterwards(op *store.Operation, rec *store.Instance) {
	switch op.State {
	case api.OpSucceeded:
		if (op.Kind == opStart || op.Kind == opRestart) && rec.State.Changing() {
			w.setState(rec, api.StateRunning, "")
			if rec.SetupFailed != "" {
				w.setState(rec, api.StateSetupFailed, rec.SetupFailed)
			}
		}
	case api.OpFailed:
		w.failed(op, rec)
	}
	if rec.IdleSince != nil && op.Kind != opHostKey && op.Kind != opAdopt {
		t := w.now().UTC().Truncate(time.Second) // somebody asked for it: that long it was not left alone
		rec.IdleSince = &t
	}
}

// failed sets the state that an instance has after its operation failed.
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

// Failed implements operation.Host: the provider is asked once what has become of the machine; a failed adoption is
// undone.
func (h host) Failed(r *operation.Run) {
	w := h.w
	ctx, cancel := context.WithTimeout(backend.WithCaller(w.operations.Context(), r.Caller()),
		min(w.limits.Call, 10*time.Second))
	defer cancel()
	switch r.Kind {
	case opCreate:
		return
	case opAdopt:
		// It was not taken in after all: the backend forgets it as well.
		b, rec, err := w.target(r)
		if err != nil || rec.ProviderID == "" {
			return
		}
		_, err = within(ctx, w, "undoing the adoption of "+rec.Name, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, b.Delete(ctx, ref(&rec))
		})
		if err != nil {
			w.log.Error("undoing an adoption", "instance", rec.Name, "error", err)
		}
		return
	}
	_ = w.observe(ctx, r.InstanceID, r, false) // what the operation says is shown instead
}

// Over implements operation.Host.
func (h host) Over(r *operation.Run, ended bool) {
	w := h.w
	w.mu.Lock()
	if e := w.entries[r.InstanceID]; e != nil && e.run == r {
		e.run, e.freed = nil, w.now()
	}
	w.mu.Unlock()
	if ended && r.Kind != opHostKey && r.Snapshot().State != api.OpCancelled {
		w.renewLater(r.InstanceID, r.Caller().Env)
	}
}

// Take implements operation.Host.
func (h host) Take(r *operation.Run) error {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	e := h.w.entries[r.InstanceID]
	if e == nil {
		return api.Errorf(api.CodeCancelled, "%s of %s: the instance is gone", r.Kind, r.Instance)
	}
	e.run, e.lastOp = r, nil
	return nil
}

// Dismiss implements operation.Host. What the operation did to its instance is not known: the provider is asked.
func (h host) Dismiss(_ context.Context, op store.Operation, why error) {
	w := h.w
	err := w.update(op.InstanceID, func(e *entry) *store.Change {
		c := &store.Change{}
		if e == nil { // the end of a delete was written without this one's
			op.State = api.OpCancelled
		} else if rec := e.rec; rec.State.Changing() {
			w.setState(&rec, api.StateUnknown, why.Error())
			c.Instances = append(c.Instances, rec)
			w.suspects[rec.ID] = true
			w.Reconciler.wake(rec.Backend)
		}
		c.Operations = append(c.Operations, op)
		c.Events = append(c.Events, w.event("operation.done", "warn", nil, &op.Operation, backend.Principal{}, "%s", why))
		return c
	})
	if err != nil { // as at the next start
		w.log.Error("writing the end of an operation that is not resumed", "operation", op.ID, "error", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.entries[op.InstanceID]; e != nil {
		e.lastOp = &op.Operation
		w.publish(e)
	}
}

// keepOp stores what change makes of a copy of r's document, with the events that it returns.
func (w *Workspace) keepOp(ctx context.Context, r *operation.Run, change func(*store.Operation) []*api.Event) error {
	return host{w}.Write(ctx, r, change)
}

// Resume goes on with the operations that the last daemon left unfinished, which may have been another build.
func (w *Workspace) Resume(ctx context.Context) error {
	ops, err := w.opts.Store.Unfinished(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	ids := make([]string, 0, len(w.entries))
	for id := range w.entries {
		ids = append(ids, id)
	}
	w.mu.Unlock()
	w.operations.Resume(ctx, ops, backend.Selectors(w.opts.Env))
	for _, id := range ids {
		w.renewLater(id, nil)
		w.Outbox.kick(id)
	}
	return nil
}

// Operation returns an operation, under way or ended.
func (w *Workspace) Operation(ctx context.Context, id string) (api.Operation, error) {
	if r := w.operations.Get(id); r != nil {
		return r.Snapshot(), nil
	}
	op, err := w.opts.Store.Operation(ctx, id)
	return op.Operation, err
}

// Operations lists the operations under way, oldest first.
func (w *Workspace) Operations() []api.Operation { return w.operations.List() }

// Busy counts the operations under way that need this daemon: one that is parked is in the store, and the next daemon
// parks it as well.
func (w *Workspace) Busy() int { return w.operations.Len() - w.operations.Parked() }

// target returns the backend and a copy of the record of r's instance.
func (w *Workspace) target(r *operation.Run) (backend.Backend, store.Instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[r.InstanceID]
	if e == nil {
		return nil, store.Instance{}, api.Errorf(api.CodeNotFound, "the instance of operation %s is gone", r.ID)
	}
	b, err := w.backend(e.rec.Backend)
	return b, e.rec, err
}
