package main

import (
	"context"
	"errors"
	"fmt"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/ui/attach"
	"berth/ui/jobword"
)

// Jobs for an instance that does not run are kept by the daemon under their UUIDs.

// jobID is the id of a job, or its UUID while it has none.
func jobID(j *api.Job) string {
	if j.ID != nil {
		return *j.ID
	}
	return j.UUID
}

// kept sees to a job that waits for its instance to start: it starts that where start says so, or the person does who
// is asked on a terminal, and then waits until the job is handed over.
func (a *app) kept(ctx context.Context, c *api.WorkspaceClient, name string, job api.Job, start bool) (api.Job, error) {
	if !start {
		var err error
		if start, err = a.askToStart(ctx, c, name, false); err != nil || !start {
			return job, err
		}
	}
	op, err := startFor(ctx, c, name)
	if err != nil && ctx.Err() == nil { // it is not to wait for what was refused
		if _, cerr := c.Agent(name).Jobs().Do(ctx, job.UUID, "cancel"); cerr != nil {
			return job, errors.Join(err, fmt.Errorf("job %s waits on: %w", job.UUID, cerr))
		}
		return job, fmt.Errorf("the job was not taken: %w", err)
	}
	if err == nil {
		_, err = a.waitAsked(ctx, c, op)
	}
	if err != nil {
		fmt.Fprintf(a.err, "berth: job %s waits on; berth job cancel %s ends it\n", job.UUID, a.jobWords(name, job.UUID))
		return job, err
	}
	if job, err = a.handedOver(ctx, c, name, job.UUID); err == nil && job.ID == nil {
		err = api.Errorf(api.CodeFailed, "job %s was not taken: %s", job.UUID, jobword.Outcome(&job)).
			WithHint("berth job rm %s forgets it", a.jobWords(name, job.UUID))
	}
	return job, err
}

// startFor asks for the start of an instance that a job is for.
func startFor(ctx context.Context, c *api.WorkspaceClient, name string) (op api.Operation, err error) {
	err = c.WithQuestions(ctx, func(ctx context.Context) (err error) {
		op, err = again(ctx, func() (api.Operation, error) { return c.Action(ctx, name, "start", api.ActionRequest{}) })
		return err
	})
	return op, err
}

// handedOver waits until a job that is kept has an id, or has ended without one.
func (a *app) handedOver(ctx context.Context, c *api.WorkspaceClient, name, uuid string) (api.Job, error) {
	return a.until(ctx, c, name, uuid, func(j *api.Job) bool { return j.ID != nil || j.State.Done() })
}

// askToStart asks whether an instance is to be started for a job, which waits otherwise, unless it has secrets. Where
// nobody can be asked it is not.
func (a *app) askToStart(ctx context.Context, c *api.WorkspaceClient, name string, secrets bool) (bool, error) {
	if a.json || !terminal(a.in) || !terminal(a.err) {
		return false, nil
	}
	in, err := c.Instance(ctx, name)
	if err != nil || in.State != api.StateStopped || !in.Capabilities.Start {
		return false, err
	}
	what := " is stopped. The job waits until it is started, and this laptop must be awake then.\nStart it now?"
	if secrets {
		what = " is stopped, and a job with secrets can't wait until it is started.\nStart it now?"
	}
	ans, err := attach.Ask(ctx, a.in, api.Question{Kind: "confirm", Text: plaintext.Text(in.Name) + what})
	return err == nil && ans.Value == "yes", err
}
