package workspace

import (
	"context"
	"errors"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// doStop asks for a stop, or with --force switches the machine off.
func doStop(ctx context.Context, w *Workspace, r *operation.Run) error {
	b, _, err := w.target(r)
	if err != nil {
		return err
	}
	if f, ok := b.(backend.Forcer); ok && r.Record().Force {
		return call(func(_ backend.Backend, ctx context.Context, ref backend.Ref) error { return f.ForceStop(ctx, ref) })(ctx,
			w, r)
	}
	return call(backend.Backend.Stop)(ctx, w, r)
}

// askAgain is how often a machine that is asked to stop is asked again: early in its start it may not
// hear.
const askAgain = 10 * time.Second

// waitStopped waits until the machine has stopped. One that does not react is switched off.
func waitStopped(ctx context.Context, w *Workspace, r *operation.Run) error {
	b, rec, err := w.target(r)
	if err != nil {
		return err
	}
	began, asked, forced := time.Now(), time.Now(), false
	return w.poll(ctx, r, func(m *backend.Machine, err error) (bool, error) {
		_, can := b.(backend.Forcer)
		switch {
		case err != nil:
			return false, err
		case m.State == api.StateStopped:
			return true, nil
		case can && !forced && time.Since(began) > w.limits.Gentle:
			forced = true
			w.force(ctx, r, &rec)
		case can && !forced && time.Since(asked) > askAgain:
			asked = time.Now()
			cctx, cancel := context.WithTimeout(ctx, w.limits.Call)
			defer cancel()
			if err := b.Stop(cctx, ref(&rec)); err != nil && !errors.Is(err, backend.ErrUnreachable) {
				return false, err
			}
		}
		return false, nil
	})
}

// force does without the machine's consent what r asks of it, and says so.
func (w *Workspace) force(ctx context.Context, r *operation.Run, rec *store.Instance) {
	f, ok := w.opts.Backends[rec.Backend].(backend.Forcer)
	if !ok {
		return
	}
	what, do := "switched off", f.ForceStop
	if r.Kind == opRestart {
		what, do = "reset", f.ForceRestart
	}
	cctx, cancel := context.WithTimeout(ctx, w.limits.Call)
	defer cancel()
	if err := do(cctx, ref(rec)); err != nil {
		w.log.Warn("forcing a machine", "instance", rec.Name, "error", err)
		return
	}
	// Where that can't be written the operation's own end can't, either, and is tried for longer.
	_ = w.warn(ctx, r, "machine.forced", "%s did not react to the %s for %s and was %s", rec.Name, r.Kind,
		operation.Brief(w.limits.Gentle), what)
}

// warn adds a warning to an operation that goes on, durably, with an event.
func (w *Workspace) warn(ctx context.Context, r *operation.Run, kind, format string, a ...any) error {
	return w.keepOp(ctx, r, func(op *store.Operation) []*api.Event {
		ev := w.event(kind, "warn", nil, &op.Operation, backend.Principal{}, format, a...)
		op.Warnings = append(op.Warnings, ev.Message)
		return []*api.Event{ev}
	})
}

// noteBoot writes which boot of the machine is seen before it is asked to restart, and reports whether it
// has restarted already. Where its agent does not answer there is none to compare with.
func (w *Workspace) noteBoot(ctx context.Context, r *operation.Run, rec store.Instance) (done bool, err error) {
	client := w.AgentClient(rec)
	defer client.Close()
	cctx, cancel := context.WithTimeout(ctx, min(w.limits.Agent, 10*time.Second))
	defer cancel()
	info, err := client.Info(cctx)
	if err != nil {
		w.log.Warn("its agent does not say which boot this is", "instance", rec.Name, "error", err)
		return false, ctx.Err()
	}
	if was := r.Record().Boot; was != "" {
		return info.BootID != was, nil // asked before a crash
	}
	return false, w.keepOp(ctx, r, func(op *store.Operation) []*api.Event {
		op.Boot = info.BootID
		return nil
	})
}
