package job

import (
	"context"
	"errors"
	"iter"
	"slices"
	"syscall"

	"berth/backend/agent/job/run"
	"berth/backend/api"
	"berth/queue"
)

// secretsOf are the values of a request's secrets, and their names in order.
func secretsOf(q api.JobRequest) (names []string, values map[string]string, err error) {
	if len(q.Secrets) == 0 {
		return nil, nil, nil
	}
	values = map[string]string{}
	for n, v := range q.Secrets {
		names, values[n] = append(names, n), string(v)
	}
	slices.Sort(names)
	if err := run.CheckSecrets(values); err != nil {
		return nil, nil, usage(err)
	}
	if q.UUID == "" {
		return nil, nil, api.Errorf(api.CodeUsage, "a job with secrets needs a uuid, which they are kept by")
	}
	return names, values, nil
}

// submitWith submits a job with secrets. They are kept before it is acknowledged, and not where it isn't taken.
func (l *loop) submitWith(ctx context.Context, spec queue.Spec, values map[string]string) (queue.ID, error) {
	if len(values) == 0 {
		return l.submit(ctx, spec)
	}
	id, found, forgotten, err := l.journal.Submitted(ctx, spec.UUID)
	switch {
	case forgotten:
		return id, errForgotten(id)
	case found || err != nil:
		return id, explain(l.orGone(err)) // it has them, or is done
	}
	if err = l.secrets.Keep(spec.UUID, values); err == nil {
		// Whoever hangs up now may have their job all the same.
		id, err = l.submit(context.WithoutCancel(ctx), spec)
		if err == nil || api.AsError(err).Code == api.CodeMoved {
			return id, err // what the next agent has no job for, it removes
		}
	} else if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = api.Errorf(api.CodeRefused, "the job was not taken: the instance's disk is full (%w)", err).
			WithHint("free some space there, and submit it again")
	}
	if _, found, ferr := l.journal.ByUUID(context.WithoutCancel(ctx), spec.UUID); found || ferr != nil {
		return id, err // another submit of the same was taken
	}
	return id, errors.Join(err, l.secrets.Forget(spec.UUID))
}

// keptSecrets hands jobs on, and notes which have secrets.
func (l *loop) keptSecrets(jobs iter.Seq2[queue.Job, error]) iter.Seq2[queue.Job, error] {
	was := l.kept
	l.kept = map[int64]string{}
	return func(yield func(queue.Job, error) bool) {
		for j, err := range jobs {
			if err == nil {
				l.keeps(j.ID, &j.Spec)
			}
			if !yield(j, err) {
				return
			}
		}
		for n, uuid := range was {
			if _, live := l.kept[n]; !live {
				l.forgetSecrets(uuid)
			}
		}
	}
}

// keeps notes a job that has secrets.
func (l *loop) keeps(id queue.ID, s *queue.Spec) {
	if len(s.Secrets) > 0 && !id.Element {
		l.kept[id.Number] = s.UUID
	}
}

// settleSecrets removes the secrets of jobs that are done, with all their elements, for good.
func (l *loop) settleSecrets(changes []queue.Change) {
	for _, c := range changes {
		if c.Spec != nil {
			l.keeps(c.ID, c.Spec)
		}
		if uuid, ok := l.kept[c.ID.Number]; ok && !c.ID.Element && c.Status.State.Done() {
			delete(l.kept, c.ID.Number)
			l.forgetSecrets(uuid)
		}
	}
}

func (l *loop) forgetSecrets(uuid string) {
	if err := l.secrets.Forget(uuid); err != nil {
		l.log.Warn("the secrets of a job that is done are not removed", "error", err)
	}
}

// sweepSecrets removes those that no job has: of a submit that was not acknowledged, or an end that was cut off.
func (l *loop) sweepSecrets() {
	var uuids []string
	for _, u := range l.kept {
		uuids = append(uuids, u)
	}
	if err := l.secrets.Sweep(uuids); err != nil {
		l.log.Warn("secrets that no job has are not removed", "error", err)
	}
}

// withSecrets refuses another run of what is done with its secrets.
func withSecrets(j *queue.Job) error {
	if len(j.Spec.Secrets) == 0 || !j.State.Done() {
		return nil
	}
	return api.Errorf(api.CodeConflict, "job %s can't run again: its secrets were removed when it ended", j.ID).
		WithHint("submit it anew, with --secret")
}
