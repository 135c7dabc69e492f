package operation

import (
	"context"
	"fmt"
	"slices"

	"berth/backend/api"
	"berth/backend/service/store"
)

// TakeOver matches the steps of a stored operation to a plan, by name. Steps are those of the plan in its order, as
// they stand, and after them those that the plan does not have, which are not run. One that the stored operation lacks
// is run if it comes after the last one that is done; else it is passed over: what needs it is done without it. said
// is what is not run.
func TakeOver(stored []api.Step, plan []Step) (steps []api.Step, said []string) {
	left := slices.Clone(stored)
	last := -1
	for i, p := range plan {
		s := api.Step{Name: p.Name, State: api.OpSkipped} // as one that an older build skipped
		if j := slices.IndexFunc(left, func(s api.Step) bool { return s.Name == p.Name }); j >= 0 {
			s = left[j]
			left = slices.Delete(left, j, j+1)
		}
		if s.State == api.OpSucceeded {
			last = i
		} else {
			s.Title = p.Title
		}
		steps = append(steps, s)
	}
	skip := func(s *api.Step, why string) {
		if s.State == api.OpSkipped && s.Message != "" {
			return // said by an earlier daemon
		}
		if s.Message == "" {
			s.Message = why
		}
		if s.State == api.OpRunning {
			s.Message += "; it was under way"
		}
		s.State = api.OpSkipped
		if !slices.ContainsFunc(plan, func(p Step) bool { return p.Early && p.Name == s.Name }) {
			said = append(said, fmt.Sprintf("the step %q (%s) is not run: %s", s.Name, s.Title, why))
		}
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

// sayUnmatched stores which steps of an operation that another build began are not run.
func (e *Engine) sayUnmatched(ctx context.Context, r *Run) error {
	if len(r.said) == 0 {
		return nil
	}
	return e.host.Write(ctx, r, func(op *store.Operation) (evs []*api.Event) {
		for _, said := range r.said {
			e.log.Warn("an operation of another build", "operation", op.ID, "kind", op.Kind, "instance", op.Instance, "said",
				said)
			op.Warnings = append(op.Warnings, said)
			evs = append(evs, e.event("operation.step", "warn", op, op.Kind+": "+said))
		}
		return evs
	})
}
