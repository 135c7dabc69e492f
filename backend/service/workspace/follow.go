package workspace

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// follow has the agent carry out a plan (or go on with one) and shows how far it is, until it has ended. A plan without
// steps is one that the agent has already.
// The agent does not need us for it: a line that breaks, a reboot of the machine, cost nothing.
func (w *Workspace) follow(ctx context.Context, r *operation.Run, rec store.Instance, step string, plan api.SetupPlan,
	resume bool) error {
	plan.MayReboot = !rec.Adopted && rec.Line.SSH != nil
	client := w.AgentClient(rec)
	defer client.Close()
	begun, after := len(plan.Steps) == 0 && !resume, int64(-1)
	var handover time.Time
	wait := 20 * time.Millisecond
	for {
		var st api.SetupStatus
		var err error
		switch {
		case begun:
			st, err = client.Setup(ctx, plan.ID, after)
		case resume:
			st, err = client.ResumeSetup(ctx, plan.ID)
		default:
			st, err = client.PutSetup(ctx, plan)
		}
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			code := api.AsError(err).Code
			// An agent that is being replaced says so; one of capability 1 by a conflict.
			leaves := code == api.CodeMoved || code == api.CodeConflict
			if leaves && handover.IsZero() {
				handover = time.Now().Add(30 * time.Second)
			}
			replaced := leaves && time.Now().Before(handover)
			if code != api.CodeUnreachable && !replaced || errors.As(err, new(*backend.AgentUnavailable)) {
				return noAgentForSetup(&rec, err)
			}
			w.note(r, step, func(s *api.Step) { s.Message = "waiting for the instance: " + err.Error() })
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(wait):
				wait = min(2*wait, 2*time.Second)
			}
			continue
		}
		begun, after, wait = true, st.Revision, 20*time.Millisecond
		w.note(r, step, func(s *api.Step) {
			s.Parts = parts(&st)
			s.Message = setupMessage(&st)
		})
		if !st.State.Done() {
			continue
		}
		if err := w.persistParts(ctx, r, step, parts(&st)); err != nil {
			return err
		}
		if st.State != api.OpSucceeded {
			return setupError(&rec, &st)
		}
		return nil
	}
}

// parts are the steps of a set-up as the parts of one step.
func parts(st *api.SetupStatus) []api.StepPart {
	var out []api.StepPart
	for _, s := range st.Steps {
		out = append(out, api.StepPart{Name: s.Name, Title: s.Title, State: s.State, StartedAt: s.StartedAt,
			EndedAt: s.EndedAt, Message: s.Message})
	}
	return out
}

// persistParts keeps the parts of a step as they ended.
func (w *Workspace) persistParts(ctx context.Context, r *operation.Run, step string, parts []api.StepPart) error {
	return w.keepOp(ctx, r, func(op *store.Operation) []*api.Event {
		for i := range op.Steps {
			if op.Steps[i].Name == step {
				op.Steps[i].Parts = parts
			}
		}
		return nil
	})
}

// setupMessage says in a line what is being set up.
func setupMessage(st *api.SetupStatus) string {
	done, title := 0, ""
	for _, s := range st.Steps {
		switch {
		case s.State == api.OpSucceeded:
			done++
		case s.State == api.OpRunning || s.State == api.OpFailed:
			title = s.Title
		}
	}
	if st.Rebooting {
		return "restarting the machine"
	}
	if title == "" || len(st.Steps) < 2 {
		return title
	}
	return title + " (" + strconv.Itoa(done+1) + " of " + strconv.Itoa(len(st.Steps)) + ")"
}

// setupError is the error of a set-up that failed, with the last lines of its log.
func setupError(rec *store.Instance, st *api.SetupStatus) error {
	what, why := "the set-up", "it was cancelled"
	for _, s := range st.Steps {
		if s.State == api.OpFailed || s.State == api.OpCancelled {
			what, why = s.Title, orElse(s.Message, "failed")
		}
	}
	log := strings.TrimSpace(strings.ToValidUTF8(st.Log, "?"))
	if n := len(log) - 2<<10; n > 0 {
		log = log[n:]
	}
	if log != "" {
		log = "; its last lines:\n" + log
	}
	e := api.Errorf(api.CodeFailed, "%s: %s%s", what, why, log).
		WithHint("mend it (berth ssh %s), then go on with: berth setup %s --resume; or let go of it: berth setup %s --forget",
			rec.Name, rec.Name, rec.Name)
	if st.Error != nil && st.Error.Code != "" {
		e.Code = st.Error.Code
		if st.Error.Hint != "" {
			e.Hint = st.Error.Hint + "; then: berth setup " + rec.Name + " --resume (or let go of it: --forget)"
		}
	}
	return e
}
