package workspace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

const (
	// drainHold is how long an agent starts no job without being asked again: when this daemon is gone, or its computer
	// sleeps, the queue goes on after that.
	drainHold = 2 * time.Minute
	// drainLook is how long an agent may wait with its answer until nothing runs.
	drainLook = 20 * time.Second
	// jobsGrace is how long jobs have to end once an instance is to stop.
	jobsGrace = 5 * time.Second
)

// jobsLimit bounds how long a stop may wait for jobs: they take as long as they take.
func jobsLimit(Limits) time.Duration { return 365 * 24 * time.Hour }

// drains reports whether an operation still waits for jobs: nothing was done yet, so another one may take its place.
func drains(r *operation.Run) bool {
	op := r.Record()
	return op.WhenIdle && len(op.Steps) > 0 && op.Steps[0].Name == "jobs" && !op.Steps[0].State.Done()
}

// doJobs sees to the jobs of an instance before it stops. With WhenIdle it waits until none runs; else it tells those
// that run to end, so that they are known to have been ended by the stop, or run again. A machine that is switched off
// is not asked.
func doJobs(ctx context.Context, w *Workspace, r *operation.Run) error {
	op := r.Record()
	_, rec, err := w.target(r)
	if err != nil {
		return err
	}
	if op.WhenIdle {
		if err := w.drain(ctx, r, rec); err != nil {
			return err
		}
		return w.keep(ctx, rec.ID, func(rec *store.Instance) { w.setState(rec, transitions[r.Kind].during, "") })
	}
	if op.Force || w.agentless(rec.ID) {
		return nil
	}
	client := w.AgentClient(rec)
	defer client.Close()
	cctx, cancel := context.WithTimeout(unasked(ctx), 2*jobsGrace)
	defer cancel()
	_, err = client.Jobs().Drain(cctx, api.DrainRequest{HoldSeconds: drainHold.Seconds(), End: true,
		WaitSeconds: jobsGrace.Seconds()})
	if err != nil && ctx.Err() == nil { // it stops all the same
		w.log.Info("the jobs of an instance that stops are not told", "instance", rec.Name, "error", err)
	}
	return ctx.Err()
}

// agentless reports whether the agent of an instance is known not to answer now.
func (w *Workspace) agentless(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[id]
	_, down := w.down[id]
	return e == nil || down || e.agent == nil || e.agent.State != "ready"
}

// drain has an instance's queue start nothing and waits until nothing runs. Its queue goes on when that is given up.
func (w *Workspace) drain(ctx context.Context, r *operation.Run, rec store.Instance) (err error) {
	client := w.AgentClient(rec)
	defer func() {
		if err != nil && !errors.Is(context.Cause(ctx), operation.ErrClosing) { // the next daemon goes on
			rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*jobsGrace)
			defer cancel()
			if _, rerr := client.Jobs().Drain(rctx, api.DrainRequest{}); rerr != nil {
				w.log.Info("a queue goes on only after a while", "instance", rec.Name, "error", rerr)
			}
		}
		client.Close()
	}()
	for {
		cctx, cancel := context.WithTimeout(unasked(ctx), drainLook+10*time.Second)
		n, err := client.Jobs().Drain(cctx, api.DrainRequest{HoldSeconds: drainHold.Seconds(),
			WaitSeconds: drainLook.Seconds()})
		cancel()
		code := api.Code("")
		if err != nil {
			code = api.AsError(err).Code
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && n.Running == 0:
			return nil
		case err == nil:
			w.note(r, "jobs", func(s *api.Step) { s.Message = fmt.Sprintf("%d run", n.Running) })
			continue
		case code == api.CodeNotFound || code == api.CodeUnsupported:
			return nil // an agent from before there were jobs
		}
		w.note(r, "jobs", func(s *api.Step) { s.Message = err.Error() })
		if _, lerr := w.lookAtMachine(ctx, r); lerr != nil && ctx.Err() == nil {
			return nil // it does not run any more: what comes next sees to that
		}
		select {
		case <-time.After(agentPause * 5):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
