package workspace

import (
	"context"
	"errors"
	"slices"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// backend is the backend of that name, or why there is none.
func (w *Workspace) backend(name string) (backend.Backend, error) {
	b := w.opts.Backends[name]
	if err := w.opts.Failed[name]; b == nil && err != nil {
		return nil, err
	}
	if b == nil {
		return nil, api.Errorf(api.CodeUsage, "there is no backend %q", name).
			WithHint("berth sizes lists the backends that can be used")
	}
	return b, nil
}

// ref names the machine of a record to its backend.
func ref(rec *store.Instance) backend.Ref {
	return backend.Ref{ID: rec.ProviderID, Token: rec.Token, Name: rec.Name, Data: rec.Data}
}

// retry calls f within the limit of one call, again while the provider can't be reached.
func (w *Workspace) retry(ctx context.Context, what string, f func(context.Context) error) error {
	return w.long(ctx, what, func(ctx context.Context) error {
		_, err := within(ctx, w, what, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
		return err
	})
}

// call makes a step of one provider call.
func call(f providerCall) func(context.Context, *Workspace, *operation.Run) error {
	return func(ctx context.Context, w *Workspace, r *operation.Run) error {
		err := w.change(ctx, r, r.Kind, f)
		if r.Kind == opDelete && errors.Is(err, backend.ErrNotFound) {
			err = nil // waitGone looks whether that is so
		}
		if err == nil {
			w.opts.Fault(r.Kind + ".provider.called")
		}
		return err
	}
}

type providerCall func(backend.Backend, context.Context, backend.Ref) error

// change makes the provider call of a start, stop, restart or delete. A step that is resumed looks first whether
// that is done, and each looks again after an error: the call before it, whose answer nobody heard, may have had
// its effect meanwhile.
func (w *Workspace) change(ctx context.Context, r *operation.Run, kind string, f providerCall) error {
	b, rec, err := w.target(r)
	if err != nil {
		return err
	}
	goal, way := wanted(kind)
	if r.Resumed {
		if _, ok := w.isNow(ctx, b, &rec, goal); ok {
			return nil
		}
	}
	err = w.retry(ctx, kind+" of "+rec.Name, func(ctx context.Context) error { return f(b, ctx, ref(&rec)) })
	if err == nil || ctx.Err() != nil {
		return err
	}
	if _, ok := w.isNow(ctx, b, &rec, goal, way); ok {
		w.log.Warn("an error of the provider is none: the machine is as it should be", "asked", kind, "instance", rec.Name,
			"error", err)
		return nil
	}
	return err
}

// wanted says which state an action wants, and which its machine has on the way there. That a restart is over can't be
// seen by the state, and of a deletion the provider alone knows whether all is gone.
func wanted(kind string) (goal, way api.State) {
	switch kind {
	case opStart, opCreate:
		return api.StateRunning, api.StateStarting
	case opStop:
		return api.StateStopped, api.StateStopping
	case opRestart:
		return "", api.StateRestarting
	}
	return "", ""
}

// isNow asks the provider for a machine and reports whether it has one of the states.
func (w *Workspace) isNow(ctx context.Context, b backend.Backend, rec *store.Instance,
	states ...api.State) (backend.Machine, bool) {
	cctx, cancel := context.WithTimeout(ctx, w.limits.Call)
	defer cancel()
	m, err := b.Get(cctx, ref(rec))
	return m, err == nil && m.State != "" && slices.Contains(states, m.State)
}
