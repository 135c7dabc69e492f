package workspace

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"berth/backend/api"
	"berth/queue"
)

// Letters as clients see them.

// find is the letter for an instance whose UUID begins so: CodeNotFound where there is none. w.mu must be held.
func (o Outbox) find(name, uuid string) (*entry, *letter, error) {
	e, err := o.w.find(name)
	if err != nil {
		return nil, nil, err
	}
	var found []*letter
	if queue.BeginsUUID(uuid) {
		for _, l := range e.post.letters {
			if strings.HasPrefix(l.Job.UUID, uuid) {
				found = append(found, l)
			}
		}
	}
	switch len(found) {
	case 0:
		return e, nil, api.Errorf(api.CodeNotFound, "no job %.40q waits for %s", uuid, e.rec.Name)
	case 1:
		return e, found[0], nil
	}
	return e, nil, api.Errorf(api.CodeUsage, "%d jobs have a UUID that begins with %s", len(found), uuid).
		WithHint("say more of it")
}

// Job returns a job that is kept, by its UUID or by how that begins. It is CodeNotFound where there is none, or none
// any more.
func (o Outbox) Job(name, uuid string) (api.Job, error) {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	e, l, err := o.find(name, uuid)
	if err != nil {
		return api.Job{}, err
	}
	return l.shown(e), nil
}

// Await is Job when its change number is another than seq, or after a while.
func (o Outbox) Await(ctx context.Context, name, uuid string, seq int64) (api.Job, error) {
	ctx, cancel := context.WithTimeout(ctx, letterWait)
	defer cancel()
	for {
		o.w.mu.Lock()
		e, l, err := o.find(name, uuid)
		if err != nil {
			o.w.mu.Unlock()
			return api.Job{}, err
		}
		job, changed := l.shown(e), e.post.next()
		o.w.mu.Unlock()
		if job.Seq != seq {
			return job, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return job, nil
		}
	}
}

// Jobs are the jobs that are kept for an instance, newest first unless by their turn, and the number of the last change
// of them.
func (o Outbox) Jobs(name string, q api.JobQuery) (jobs []api.Job, seq int64, err error) {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	e, err := o.w.find(name)
	if err != nil {
		return nil, 0, err
	}
	letters := slices.Clone(e.post.letters)
	if !q.Next { // they are handed over in their order
		slices.Reverse(letters)
	}
	for _, l := range letters {
		if j := l.shown(e); q.Fits(&j) {
			jobs = append(jobs, j)
		}
	}
	return jobs, e.post.seq, nil
}

// Changed returns when the letters for an instance are others than at a change number, or after a while.
func (o Outbox) Changed(ctx context.Context, name string, seq int64) error {
	o.w.mu.Lock()
	e, err := o.w.find(name)
	if err != nil || e.post.seq != seq {
		o.w.mu.Unlock()
		return err
	}
	changed := e.post.next()
	o.w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, letterWait)
	defer cancel()
	select {
	case <-changed:
	case <-ctx.Done():
	}
	return nil
}

// name is what the job is called.
func (l *letter) name() string {
	if l.Job.Name != "" {
		return l.Job.Name
	}
	return strings.ToValidUTF8(path.Base(l.Job.Meant().Argv[0]), "?")
}

// shown is a letter as clients see it. w.mu must be held.
func (l *letter) shown(e *entry) api.Job {
	q := l.Job.Meant()
	j := api.Job{UUID: q.UUID, Name: l.name(), Command: q.Argv, State: l.State, Supervised: true, Priority: q.Priority,
		Group: q.Group, After: slices.Concat(q.After, q.AfterFailure), Workdir: q.Workdir, Array: q.Array,
		Requested: api.JobRequested{GPUs: q.GPUs, TimeoutSeconds: q.TimeoutSeconds, Retries: q.Retries,
			CPUs: q.CPUs, MemoryBytes: q.MemoryBytes, RetryOn: q.RetryOn, Image: q.Image, GPUMemoryBytes: q.GPUMemoryBytes,
			GPUIDs: q.GPUIDs, Ranks: q.Ranks, Exclusive: q.Exclusive},
		Service:     q.Service,
		SubmittedBy: api.NewHome("", l.From.Name).Name, SubmittedAt: l.SubmittedAt, EndedAt: l.EndedAt, Message: l.Message,
		By: l.By, Seq: -2 - l.revision} // an agent's are not negative
	switch {
	case l.State == api.JobFailed:
		j.Cause = "start_failed"
	case l.State == api.JobCancelled:
		j.Cause = "cancelled"
	case l.By != "":
		j.Reason = "it may have been handed over already, and is cancelled when " + e.rec.Name + " can be asked"
	case keeps(e.rec.State):
		j.Reason = fmt.Sprintf("waits for %s to start; this laptop must be awake until then", e.rec.Name)
	default:
		j.Reason = "waits to be handed over to " + e.rec.Name
		if l.trouble != "" {
			j.Reason += ": " + l.trouble
		}
	}
	return j
}
