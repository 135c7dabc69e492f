package job

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"berth/backend/api"
	"berth/queue"
	"berth/queue/journal"
	"berth/queue/plan"
)

// submit asks for a job, and returns when it is on the disk. A UUID that was said before is answered with its job.
func (l *loop) submit(ctx context.Context, spec queue.Spec) (queue.ID, error) {
	var known queue.ID
	id, err := l.do(ctx, &ask{inputs: func(ctx context.Context) (_ []plan.Input, err error) {
		if spec.UUID != "" {
			id, found, forgotten, err := l.journal.Submitted(ctx, spec.UUID)
			switch {
			case err != nil:
				return nil, err
			case forgotten:
				return nil, errForgotten(id)
			case found:
				known = id
				return nil, nil
			}
		}
		if spec.Expect, spec.ExpectLog, err = l.expect(ctx, &spec); err != nil { // the job is run without it
			l.log.Warn("how long a command took before is not known", "error", err)
		}
		in := plan.Submit{Spec: spec, Known: map[queue.ID]queue.State{}}
		for _, id := range l.plan.Unknown(spec.After) {
			job, found, err := l.journal.Job(ctx, id)
			if err != nil {
				return nil, err
			}
			if found {
				in.Known[id] = job.State
			}
		}
		return []plan.Input{in}, nil
	}})
	switch {
	case known != queue.ID{}:
		return known, nil
	case errors.Is(err, journal.ErrFull):
		return id, api.Errorf(api.CodeRefused, "the job was not taken: the instance's disk is full (%w)", err).
			WithHint("free some space there, and submit it again")
	}
	return id, explain(err)
}

// errForgotten says of a submit that is said again that its job, which was this one, is forgotten.
func errForgotten(id queue.ID) error {
	return api.Errorf(api.CodeGone, "this was job %s, which is forgotten", id)
}

// expects is what was found of how long commands take, by what they are. It is kept for a moment, for many that are
// alike.
type expects struct {
	of    map[string]expected
	since time.Time
}

const (
	expectsFor  = 5 * time.Second
	expectsMost = 100
)

// expected is how long a command takes, and how much it prints.
type expected struct {
	took time.Duration
	log  int64
}

// expect is how long the same command took before, and how many bytes it printed; 0: none is known.
func (l *loop) expect(ctx context.Context, s *queue.Spec) (time.Duration, int64, error) {
	if age := l.now().Sub(l.expects.since); age < 0 || age > expectsFor || len(l.expects.of) >= expectsMost {
		l.expects = expects{map[string]expected{}, l.now()}
	}
	key := fmt.Sprintf("%q", append([]string{s.Name, s.Group, s.User, strconv.FormatBool(s.Shell)}, s.Argv...))
	if s.Array != nil || len(key) > 4<<10 {
		return l.journal.Took(ctx, s)
	}
	if x := l.expects.of[key]; x.took > 0 {
		return x.took, x.log, nil
	}
	d, log, err := l.journal.Took(ctx, s)
	if err == nil && d > 0 {
		l.expects.of[key] = expected{d, log}
	}
	return d, log, err
}

// verbs are what a job can be told.
var verbs = map[string]func(id queue.ID, by string) plan.Input{
	"cancel":  func(id queue.ID, by string) plan.Input { return plan.Cancel{ID: id, By: by} },
	"hold":    func(id queue.ID, _ string) plan.Input { return plan.Hold{ID: id} },
	"release": func(id queue.ID, _ string) plan.Input { return plan.Release{ID: id} },
	"pause":   func(id queue.ID, _ string) plan.Input { return plan.Pause{ID: id} },
	"resume":  func(id queue.ID, _ string) plan.Input { return plan.Resume{ID: id} },
}

// orders are the verbs that say where a job is to stand.
var orders = map[string]func(id queue.ID, to string) (plan.Input, error){
	"priority": func(id queue.ID, to string) (plan.Input, error) {
		n, err := strconv.Atoi(to)
		if err != nil || n < -queue.MaxPriority || n > queue.MaxPriority {
			return nil, fmt.Errorf("%.30q is no priority: say a number from %d to %d", to, -queue.MaxPriority, queue.MaxPriority)
		}
		return plan.SetPriority{ID: id, Priority: n}, nil
	},
	"move": func(id queue.ID, to string) (plan.Input, error) {
		ways := []plan.Way{plan.Up, plan.Down, plan.Top, plan.End}
		if !slices.Contains(ways, plan.Way(to)) {
			return nil, fmt.Errorf("%.30q is no way to move a job: say one of %v", to, ways)
		}
		return plan.Move{ID: id, To: plan.Way(to)}, nil
	},
}

// inputOf is what a verb says to the plan; to is where to, of those of orders.
func inputOf(id queue.ID, verb, to, by string) (plan.Input, error) {
	if tell := verbs[verb]; tell != nil {
		return tell(id, by), nil
	}
	if order := orders[verb]; order != nil {
		in, err := order(id, to)
		if err != nil {
			return nil, usage(err)
		}
		return in, nil
	}
	return nil, api.Errorf(api.CodeNotFound, "a job can't be told to %.30q", verb)
}

// tell does what a verb says. One that is done can't be told anything: cancelling it changes nothing.
func (l *loop) tell(ctx context.Context, id queue.ID, verb, to, by string) error {
	if verb == "retry" {
		return l.retry(ctx, id)
	}
	in, err := inputOf(id, verb, to, by)
	if err != nil {
		return err
	}
	_, err = l.do(ctx, &ask{inputs: func(context.Context) ([]plan.Input, error) { return []plan.Input{in}, nil }})
	var gone *plan.GoneError
	if !errors.As(err, &gone) {
		return explain(err)
	}
	job, err := l.job(ctx, id)
	if err != nil {
		return err
	}
	if verb == "cancel" {
		return nil
	}
	return api.Errorf(api.CodeConflict, "job %s %s", id, queue.WhyNot(job.State, verb))
}

// remove forgets a job that is done, with its logs. They are put aside first, since they may be large.
func (l *loop) remove(ctx context.Context, id queue.ID) error {
	if id.Element {
		return api.Errorf(api.CodeUsage, "%s is an element: it is forgotten with its array, %s", id, id.Array())
	}
	aside := filepath.Join(removedDir(l.runs), id.String())
	uuid := ""
	_, err := l.do(ctx, &ask{inputs: func(ctx context.Context) ([]plan.Input, error) {
		job, err := l.job(ctx, id)
		if err != nil {
			return nil, err
		}
		if !job.State.Done() {
			return nil, api.Errorf(api.CodeConflict, "job %s is %s: only what is done is forgotten", id, job.State).
				WithHint("berth job cancel NAME %s ends it", id)
		}
		if err := os.MkdirAll(removedDir(l.runs), 0o700); err != nil {
			return nil, err
		}
		if err := os.Rename(l.jobDir(id.Number), aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		uuid = job.Spec.UUID
		return nil, l.journal.Forget(ctx, []int64{id.Number})
	}})
	if err != nil {
		return explain(err)
	}
	if err := os.RemoveAll(aside); err != nil { // it is tried again when the queue is opened
		l.log.Warn("the logs of a job that is forgotten are not removed", "job", id.Number, "error", err)
	}
	l.removeTaken(uuid)
	return nil
}

// removedDir has what is being removed.
func removedDir(runs string) string { return runs + "-removed" }

// retry has a job that is done run again; of an array, each element that did not succeed.
func (l *loop) retry(ctx context.Context, id queue.ID) error {
	_, err := l.do(ctx, &ask{inputs: func(ctx context.Context) ([]plan.Input, error) {
		job, err := l.job(ctx, id)
		if err != nil {
			return nil, err
		}
		if err := withSecrets(&job); !id.Element && err != nil {
			return nil, err
		}
		if !id.Element {
			failed, err := l.failedElements(ctx, &job)
			return append(failed, plan.Retry{Job: job}), err
		}
		array, err := l.job(ctx, id.Array())
		if err == nil {
			err = withSecrets(&array)
		}
		return []plan.Input{plan.Retry{Job: job, Array: &array}}, err
	}})
	return explain(err)
}

// failedElements retries those elements of an array that have jobs of their own and did not succeed.
func (l *loop) failedElements(ctx context.Context, array *queue.Job) (inputs []plan.Input, err error) {
	if array.Spec.Array == nil {
		return nil, nil
	}
	q := journal.Query{Elements: array.ID.Number, Limit: maxPage,
		States: []queue.State{queue.Failed, queue.Cancelled, queue.TimedOut, queue.Lost}}
	for more := true; more; {
		var page []queue.Job
		if page, more, err = l.journal.Page(ctx, q); err != nil || len(page) == 0 {
			return inputs, err
		}
		for _, j := range page {
			inputs = append(inputs, plan.Retry{Job: j, Array: array})
		}
		q.After = page[len(page)-1].ID
	}
	return inputs, nil
}

// job is a job as the journal has it. An element without a job of its own stands where its array does.
func (l *loop) job(ctx context.Context, id queue.ID) (queue.Job, error) {
	job, found, err := l.journal.Job(ctx, id)
	if err != nil {
		return job, l.orGone(err)
	}
	if found {
		return job, nil
	}
	if id.Element {
		array, found, err := l.journal.Job(ctx, id.Array())
		if err != nil {
			return job, err
		}
		if found && array.Spec.Array != nil {
			if _, in := array.Spec.Array.Place(id.Index); in {
				return elementOf(array, id), nil
			}
		}
	}
	return job, api.Errorf(api.CodeNotFound, "there is no job %s on this instance", id).WithHint("berth job ls shows those that there are")
}

// submitted is the job of the submit whose UUID begins so.
func (l *loop) submitted(ctx context.Context, uuid string) (queue.ID, error) {
	ids, err := l.journal.BeginsUUID(ctx, uuid)
	switch {
	case err != nil:
		return queue.ID{}, l.orGone(err)
	case len(ids) == 0:
		if id, _, forgotten, err := l.journal.Submitted(ctx, uuid); err == nil && forgotten {
			return queue.ID{}, errForgotten(id)
		}
		return queue.ID{}, api.Errorf(api.CodeNotFound, "there is no job %s on this instance", uuid).
			WithHint("berth job ls shows those that there are")
	case len(ids) > 1:
		return queue.ID{}, api.Errorf(api.CodeUsage, "several jobs have a UUID that begins with %s", uuid).
			WithHint("say more of it, or the job's number")
	}
	return ids[0], nil
}

// orGone is why reading the journal fails: it is closed where the next agent has the queue.
func (l *loop) orGone(err error) error {
	var e *api.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	select {
	case <-l.gone:
		return explain(errLeaves)
	default:
		return err
	}
}

// elementOf is an element that has no job of its own.
func elementOf(array queue.Job, id queue.ID) queue.Job {
	el := queue.Job{ID: id, Spec: array.Spec}
	el.State, el.Priority, el.SubmittedAt, el.Seq = array.State, array.Priority, array.SubmittedAt, array.Seq
	if !array.State.Waiting() { // the others were begun
		el.State, el.Cause, el.By, el.EndedAt = queue.Cancelled, array.Cause, array.By, array.EndedAt
	}
	return el
}

// explain makes an error of the plan one of the API.
func explain(err error) error {
	var e *api.Error
	var gone *plan.GoneError
	var step *queue.StepError
	var broken unwritten
	switch {
	case err == nil, errors.As(err, &e), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, errLeaves):
		return api.Errorf(api.CodeMoved, "%w", err)
	case errors.As(err, &gone):
		return api.Errorf(api.CodeNotFound, "%w", err)
	case errors.As(err, &step):
		return api.Errorf(api.CodeConflict, "%w", err)
	case errors.Is(err, journal.ErrFull):
		return api.Errorf(api.CodeRefused, "%w", err).WithHint("free some space on the instance")
	case errors.As(err, &broken):
		return api.Errorf(api.CodeFailed, "the journal of jobs can't be used: %w", err).
			WithHint("look at the instance's disk; the queue goes on by itself once it can be written")
	}
	return api.Errorf(api.CodeUsage, "%w", err)
}
