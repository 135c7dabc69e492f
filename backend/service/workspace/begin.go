package workspace

import (
	"context"
	"strings"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// begin begins an operation on the instance of rec, its record as it will be while it runs. The instance's turn must be
// held, or its name be reserved where it is new.
func (w *Workspace) begin(ctx context.Context, rec store.Instance, op store.Operation) (api.Operation, error) {
	op.InstanceID, op.Instance, op.Adopted = rec.ID, rec.Name, rec.Adopted
	r, err := w.operations.Begin(ctx, op, func(r *operation.Run, c store.Change, shown func()) error {
		c.Instances = []store.Instance{rec}
		return w.commit(&c, func() {
			shown()
			e := w.entries[rec.ID]
			e.run, e.lastOp = r, nil
		})
	})
	if err != nil {
		return api.Operation{}, err
	}
	return r.Snapshot(), nil
}

// repeated returns the operation of a request of that kind, on the instance of that name or id, that came before: a
// client repeats it when the answer was lost. done: there is nothing to do, or err says why nothing can be done.
func (w *Workspace) repeated(ctx context.Context, requestID, kind, name string) (op api.Operation, done bool,
	err error) {
	if requestID == "" {
		return api.Operation{}, false, nil
	}
	op, err = w.Operation(ctx, requestID)
	if err != nil {
		return api.Operation{}, false, nil
	}
	who := backend.CallerFrom(ctx).Principal.ID
	_, bare, qualified := strings.Cut(name, "/")
	if !qualified {
		bare = name
	}
	if op.Kind != kind || op.InstanceID != name && !strings.EqualFold(op.Instance, bare) ||
		op.Principal != "" && op.Principal != who {
		err := api.Errorf(api.CodeConflict, "the request id %.80q is another request's", requestID)
		return api.Operation{}, true, err.WithHint("a request that is not a repeated one takes a new id")
	}
	return op, true, nil
}

// operationID is the id of a new operation: that of its request, which lets it be repeated.
func operationID(requestID string) string {
	if requestID != "" {
		return requestID
	}
	return newID("op-")
}

// beginNew begins the operation that brings a new instance, if its name is free.
func (w *Workspace) beginNew(ctx context.Context, rec store.Instance, op store.Operation) (api.Operation, error) {
	r, done, err := w.reserve(ctx, rec.Name, op.ID)
	if err != nil {
		return api.Operation{}, err
	}
	if r != nil {
		return r.Snapshot(), nil // repeated at the same moment
	}
	defer done()
	return w.begin(ctx, rec, op)
}

// reserve keeps a name for an instance until done is called. Meanwhile other calls for the same name wait, as do
// repetitions of the same request. r is the operation of that request, if it is under way already.
func (w *Workspace) reserve(ctx context.Context, name, opID string) (r *operation.Run, done func(), err error) {
	key := strings.ToLower(name)
	try := func() (other *arrival, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if r = w.operations.Get(opID); r != nil {
			return nil, nil
		}
		for n, a := range w.arriving {
			if n == key || a.opID == opID {
				return a, nil
			}
		}
		if err := w.nameFree(name); err != nil {
			return nil, err
		}
		w.arriving[key] = &arrival{opID: opID, done: make(chan struct{})}
		return nil, nil
	}
	for {
		other, err := try()
		switch {
		case err != nil || r != nil:
			return r, nil, err
		case other == nil:
			return nil, func() { w.arrived(key) }, nil
		}
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// arrived gives up a reserved name: its instance is in the store, or will not be.
func (w *Workspace) arrived(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.arriving[key].done)
	delete(w.arriving, key)
}

// claimed calls f with the turn of the instance of that name.
func (w *Workspace) claimed(name string, f func(e *entry) (api.Operation, error)) (api.Operation, error) {
	e, release, err := w.claim(name)
	if err != nil {
		return api.Operation{}, err
	}
	defer release()
	return f(e)
}

// since says when an operation began.
func since(r *operation.Run) string { return r.Snapshot().CreatedAt.Local().Format("15:04:05") }

// other begins an operation that is none of the four actions. check sees the instance as it is and
// completes the operation; change sets what is shown while it runs.
func (w *Workspace) other(ctx context.Context, name, kind, requestID string, check func(*store.Instance,
	*store.Operation) error,
	change func(*store.Instance)) (api.Operation, error) {
	return w.free(ctx, name, kind, func(_ *entry, now seen) (api.Operation, error) {
		if cur := now.run; cur != nil {
			if requestID != "" && cur.ID == requestID {
				return cur.Snapshot(), nil // repeated at the same moment
			}
			return api.Operation{}, underWay(now)
		}
		if now.rec.State == api.StateCreateFailed {
			return api.Operation{}, neverMade(&now.rec)
		}
		op := store.Operation{Operation: api.Operation{ID: operationID(requestID), Kind: kind}}
		if err := check(&now.rec, &op); err != nil {
			return api.Operation{}, err
		}
		change(&now.rec)
		return w.begin(ctx, now.rec, op)
	})
}

// free calls f with the turn of an instance, when no operation is under way that one of this kind ends.
func (w *Workspace) free(ctx context.Context, name, kind string,
	f func(e *entry, now seen) (api.Operation, error)) (api.Operation, error) {
	rec, err := w.Record(name)
	if err == nil {
		err = w.accounts.check(ctx, &rec, kind)
	}
	if err != nil {
		return api.Operation{}, err
	}
	for {
		var ends *operation.Run
		op, err := w.claimed(name, func(e *entry) (api.Operation, error) {
			now := w.look(e)
			if now.run != nil && w.operations.Supersedes(kind, now.run.Kind) {
				ends = now.run
				return api.Operation{}, nil
			}
			return f(e, now)
		})
		if err != nil || ends == nil {
			return op, err
		}
		if err := ends.GiveUp(ctx, kind); err != nil {
			return api.Operation{}, err
		}
	}
}

func underWay(now seen) error {
	return api.Errorf(api.CodeConflict, "%s of %s is under way since %s", now.run.Kind, now.rec.Name, since(now.run)).
		WithHint("wait for it: berth show %s", now.rec.Name)
}

// doneAtOnce stores an operation that has ended already, together with c. then is called when it is shown.
func (w *Workspace) doneAtOnce(ctx context.Context, rec *store.Instance, op store.Operation, c *store.Change,
	then func()) (api.Operation, error) {
	now := w.now().UTC()
	op.InstanceID, op.Instance = rec.ID, rec.Name
	who := backend.CallerFrom(ctx).Principal
	op.Actor, op.Principal = who.Name, who.ID
	op.State, op.CreatedAt, op.EndedAt, op.Steps = api.OpSucceeded, now, &now, []api.Step{}
	c.Operations = append(c.Operations, op)
	return op.Operation, w.commit(c, then)
}
