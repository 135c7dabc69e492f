package operation

import (
	"context"
	"strings"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

// Resume goes on with stored operations that the last daemon left unfinished, which may have been another build.
// Each runs with the selectors of the environment that it was asked with; env is for those that an older build began,
// which kept none.
func (e *Engine) Resume(ctx context.Context, ops []store.Operation, env map[string]string) {
	for _, op := range ops {
		if e.Get(op.ID) != nil {
			continue // begun since
		}
		err := e.guard.Do("resuming the "+op.Kind+" of "+op.Instance, func() error { return e.resume(op, env) })
		if err != nil {
			e.log.Warn("an operation is not resumed", "operation", op.ID, "kind", op.Kind, "instance", op.Instance, "error", err)
			e.dismiss(ctx, op, err)
		}
	}
}

// resume goes on with one stored operation; an error says why that can't be.
func (e *Engine) resume(op store.Operation, env map[string]string) error {
	if err := e.readable(&op); err != nil {
		return err
	}
	var said []string
	op.Steps, said = TakeOver(op.Steps, e.plans[op.Kind].Steps)
	op.State = api.OpRunning
	e.log.Info("resuming an operation", "operation", op.ID, "kind", op.Kind, "instance", op.Instance)
	if op.Selectors != nil {
		env = op.Selectors
	}
	r := e.newRun(op, &backend.Caller{Principal: asker(&op), Env: env})
	r.said, r.Resumed = said, true
	if err := e.host.Take(r); err != nil {
		r.cancel(nil)
		return err
	}
	e.list(r)
	e.launch(r)
	return nil
}

// readable is an error for a stored operation that this build can't carry out: it can't be read, or its kind is not
// known.
func (e *Engine) readable(op *store.Operation) error {
	_, known := e.plans[op.Kind]
	look := "look what has become of it: berth show " + op.Instance
	switch {
	case op.Unreadable != nil:
		kind := op.Kind
		if strings.TrimSpace(kind) == "" {
			kind = "an operation"
		}
		return api.Errorf(api.CodeFailed, "%s of %s was begun by another build of Berth and can't be read by this one: %w",
			kind, op.Instance, op.Unreadable).WithHint("%s", look)
	case !known:
		return api.Errorf(api.CodeFailed, "%s of %s was begun by another build of Berth: this one has no such operation",
			op.Kind, op.Instance).WithHint("%s", look)
	}
	return nil
}

// dismiss ends a stored operation that can't be gone on with.
func (e *Engine) dismiss(ctx context.Context, op store.Operation, why error) {
	now := e.now().UTC()
	op.Error, op.State, op.EndedAt = api.AsError(why), api.OpFailed, &now
	e.host.Dismiss(ctx, op, why)
}

// asker is who asked for a stored operation.
func asker(op *store.Operation) backend.Principal {
	kind, _, _ := strings.Cut(op.Principal, ":")
	return backend.Principal{ID: op.Principal, Name: op.Actor, Kind: backend.PrincipalKind(kind)}
}
