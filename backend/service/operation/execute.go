package operation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

// operate carries an operation out and ends it. A panic in it is a failure like others.
func (e *Engine) operate(ctx context.Context, r *Run) {
	what := r.Kind + " of " + r.Instance
	err := e.guard.Do(what, func() error { return e.execute(ctx, r) })
	if err == nil || !errors.Is(context.Cause(ctx), ErrClosing) {
		ended := false
		if e.guard.Do("the end of the "+what, func() error { ended = e.finish(ctx, r, err); return nil }) == nil {
			e.over(r, ended)
			return
		}
	}
	e.over(r, false) // unfinished in the store; the next daemon goes on
}

// execute runs the steps that are not done yet.
func (e *Engine) execute(ctx context.Context, r *Run) error {
	if err := e.sayUnmatched(ctx, r); err != nil {
		return err
	}
	steps := r.Record().Steps
	for i := range r.plan.Steps {
		if st := steps[i].State; st == api.OpSucceeded || st == api.OpSkipped {
			continue // done before a crash, or passed over
		}
		if err := e.step(ctx, r, i); err != nil {
			return err
		}
	}
	return nil
}

// step runs one step within its time limit, again each time that it was parked.
func (e *Engine) step(ctx context.Context, r *Run, i int) error {
	s := r.plan.Steps[i]
	point := r.Kind + "." + s.Name
	e.fault(point + ".before")
	said := r.Record().Steps[i].Message // by an earlier daemon
	if err := e.progress(ctx, r, i, api.OpRunning); err != nil {
		return err
	}
	for {
		err := e.try(ctx, r, s)
		var p Parked
		if err == nil {
			break
		}
		if !errors.As(err, &p) {
			return err
		}
		if err := e.park(ctx, r, i, p.Needs, said); err != nil {
			return err
		}
		said = p.Needs
	}
	if err := e.progress(ctx, r, i, api.OpSucceeded); err != nil {
		return err
	}
	e.fault(point + ".after")
	return nil
}

// try carries out a step once.
func (e *Engine) try(ctx context.Context, r *Run, s Step) error {
	late := api.Errorf(api.CodeFailed, "%s took longer than %s", s.Title, s.Limit)
	ctx, cancel := context.WithTimeoutCause(backend.WithCaller(ctx, r.Caller()), s.Limit, late)
	defer cancel()
	err := s.Do(ctx, r)
	// What ended the context explains more than "context deadline exceeded".
	if cause := context.Cause(ctx); cause != nil &&
		(errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return cause
	}
	return err
}

// progress stores that step i is now in state. It is tried until it succeeds: an operation whose progress is unknown
// must not go on.
func (e *Engine) progress(ctx context.Context, r *Run, i int, state api.OpState) error {
	return e.host.Write(ctx, r, func(op *store.Operation) []*api.Event {
		st := &op.Steps[i]
		now := e.now().UTC()
		was := st.State
		st.State, st.Message = state, ""
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
		return []*api.Event{e.event("operation.step", "info", op, st.Title+verb)}
	})
}

// finish ends the operation: succeeded, failed, or cancelled for another one. It reports whether that is stored.
func (e *Engine) finish(ctx context.Context, r *Run, err error) bool {
	var sup Superseded
	cancelled := errors.As(err, &sup) || errors.As(context.Cause(ctx), &sup)
	if err != nil && !cancelled {
		look := func() error { e.host.Failed(r); return nil }
		_ = e.guard.Do("looking at "+r.Instance, look) // it is in the log
	}
	// The end is written even though the operation's context may have ended; only Close stops the trying.
	werr := e.host.End(e.ctx, r, func(op *store.Operation) []*api.Event {
		level, message := e.end(op, err, cancelled, sup)
		return []*api.Event{e.event("operation.done", level, op, message)}
	})
	e.fault(r.Kind + ".end.after")
	return werr == nil
}

// end writes the end into an operation's document, and says what the event of it says.
func (e *Engine) end(op *store.Operation, err error, cancelled bool, sup Superseded) (level, message string) {
	now := e.now().UTC()
	op.EndedAt = &now
	background := e.plans[op.Kind].Background // nobody waits for it
	switch {
	case err == nil:
		op.State = api.OpSucceeded
		return "info", fmt.Sprintf("%s: done in %s", op.Verb(), Brief(now.Sub(op.CreatedAt)))
	case cancelled:
		op.State = api.OpCancelled
		op.Error = &api.Error{Code: api.CodeCancelled, Message: fmt.Sprintf("%s of %s: %s", op.Verb(), op.Instance,
			sup.Error())}
		if background {
			return "info", op.Verb() + ": " + sup.Error()
		}
		return "warn", op.Verb() + ": " + sup.Error()
	}
	op.State = api.OpFailed
	op.Error = api.AsError(err)
	for i := range op.Steps {
		if op.Steps[i].State == api.OpRunning {
			op.Steps[i].State, op.Steps[i].Message, op.Steps[i].EndedAt = api.OpFailed, err.Error(), &now
		}
	}
	if background {
		return "warn", op.Verb() + " failed: " + err.Error()
	}
	return "error", op.Verb() + " failed: " + err.Error()
}

// Brief formats a duration for people: 240ms, 3.2s, 4m10s.
func Brief(d time.Duration) string {
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
