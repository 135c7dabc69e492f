package workspace

import (
	"context"
	"fmt"
	"slices"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

// Resume goes on with the operations that the last daemon left unfinished, which may have been another build.
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
		if err := w.guard("resuming the "+op.Kind+" of "+op.Instance, func() error { return w.resume(op) }); err != nil {
			w.dismiss(ctx, op, err)
		}
	}
	for _, e := range w.entries {
		w.renewLater(e)
	}
	return nil
}

// resume goes on with one stored operation; an error says why that can't be. w.mu must be held.
func (w *Workspace) resume(op store.Operation) error {
	plan := plans[op.Kind]
	switch {
	case w.entries[op.InstanceID] == nil:
		return api.Errorf(api.CodeCancelled, "%s of %s: the instance is gone", op.Kind, op.Instance)
	case op.Unreadable != nil:
		return api.Errorf(api.CodeFailed, "%s of %s was begun by another build of Berth and can't be read by this one: %w",
			orElse(op.Kind, "an operation"), op.Instance, op.Unreadable).
			WithHint("look what has become of it: berth show %s", op.Instance)
	case plan == nil:
		return api.Errorf(api.CodeFailed, "%s of %s was begun by another build of Berth: this one has no such operation",
			op.Kind, op.Instance).
			WithHint("look what has become of it: berth show %s", op.Instance)
	}
	r := &run{op: op, done: make(chan struct{}), plan: plan, resumed: true}
	r.op.State = api.OpRunning
	r.op.Steps, r.said = takeOver(op.Steps, plan)
	w.log.Info("resuming an operation", "operation", op.ID, "kind", op.Kind, "instance", op.Instance)
	w.launch(r, &backend.Caller{Actor: op.Actor, Env: w.env})
	return nil
}

// dismiss ends a stored operation that can't be gone on with. What it did to its instance is not known: the provider
// is asked. w.mu must be held.
func (w *Workspace) dismiss(ctx context.Context, op store.Operation, why error) {
	w.log.Warn("an operation is not resumed", "operation", op.ID, "kind", op.Kind, "instance", op.Instance, "error", why)
	op.Error = api.AsError(why)
	op.State, op.EndedAt = api.OpFailed, ptr(w.now().UTC())
	c := &store.Change{}
	rec := store.Instance{Instance: api.Instance{ID: op.InstanceID, Name: op.Instance}}
	e := w.entries[op.InstanceID]
	if e == nil { // the end of a delete was written without this one's
		op.State = api.OpCancelled
	} else if rec = e.rec; rec.State.Changing() {
		w.setState(&rec, api.StateUnknown, why.Error())
		c.Instances = append(c.Instances, rec)
		w.suspects[rec.ID] = true
		w.Wake()
	}
	c.Operations = append(c.Operations, op)
	c.Events = append(c.Events, w.event("operation.done", "warn", &rec, &op.Operation, "", "%s", why))
	if err := w.commit(ctx, c); err != nil { // as at the next start
		w.log.Error("writing the end of an operation that is not resumed", "operation", op.ID, "error", err)
		return
	}
	if e != nil {
		e.lastOp = &op.Operation
		w.publish(e)
	}
}

// takeOver matches the steps of a stored operation to a plan, by name. Steps are those of the plan in its order, as
// they stand, and after them those that the plan does not have, which are not run. One that the stored operation lacks
// is run if it comes after the last one that is done; else it is passed over: what needs it is done without it. said
// is what is not run.
func takeOver(stored []api.Step, plan []step) (steps []api.Step, said []string) {
	left := slices.Clone(stored)
	last := -1
	for i, p := range plan {
		s := api.Step{Name: p.name, State: api.OpSkipped} // as one that an older build skipped
		if j := slices.IndexFunc(left, func(s api.Step) bool { return s.Name == p.name }); j >= 0 {
			s = left[j]
			left = slices.Delete(left, j, j+1)
		}
		if s.State == api.OpSucceeded {
			last = i
		} else {
			s.Title = p.title
		}
		steps = append(steps, s)
	}
	skip := func(s *api.Step, why string) {
		if s.State == api.OpSkipped && s.Message != "" {
			return // said by an earlier daemon
		}
		s.Message = orElse(s.Message, why)
		if s.State == api.OpRunning {
			s.Message += "; it was under way"
		}
		s.State = api.OpSkipped
		said = append(said, fmt.Sprintf("the step %q (%s) is not run: %s", s.Name, s.Title, why))
	}
	for i := range steps {
		s := &steps[i]
		if s.State != api.OpSkipped {
			continue
		}
		if i > last {
			s.State, s.Message = api.OpPending, ""
		} else {
			skip(s, "the build that began the operation had no such step, and what follows it is done")
		}
	}
	for _, s := range left {
		if !s.State.Done() {
			skip(&s, "another build began the operation, and this one has no such step")
		}
		steps = append(steps, s)
	}
	return steps, said
}

// sayUnmatched writes which steps of an operation that another build began are not run.
func (w *Workspace) sayUnmatched(ctx context.Context, r *run) error {
	if len(r.said) == 0 {
		return nil
	}
	return w.keepOp(ctx, r, func(rec *store.Instance, op *store.Operation) (evs []*api.Event) {
		for _, said := range r.said {
			w.log.Warn("an operation of another build", "operation", op.ID, "kind", op.Kind, "instance", rec.Name, "said", said)
			op.Warnings = append(op.Warnings, said)
			evs = append(evs, w.event("operation.step", "warn", rec, &op.Operation, "", "%s: %s", op.Kind, said))
		}
		return evs
	})
}
