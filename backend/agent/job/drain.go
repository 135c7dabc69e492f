package job

import (
	"context"
	"net/http"
	"time"

	"berth/backend/api"
	"berth/queue"
	"berth/queue/journal"
	"berth/queue/plan"
)

// byStop is who ended a job that ran when its instance was stopped.
const byStop = "the instance's stop"

// maxHold bounds how long a queue starts nothing without being asked again.
const maxHold = time.Hour

// handleDrain has the queue start nothing for a while. An instance without a queue has nothing to start.
func (s *service) handleDrain(w http.ResponseWriter, r *http.Request) {
	var q api.DrainRequest
	err := api.ReadJSON(r, &q)
	if err == nil && (q.HoldSeconds < 0 || q.HoldSeconds > maxHold.Seconds()) {
		err = api.Errorf(api.CodeUsage, "hold_seconds is from 0 to %.0f", maxHold.Seconds())
	}
	l, _ := s.opened()
	if err == nil && l == nil && journal.Exists(s.dir()) {
		l, err = s.queue()
	}
	var n api.JobCounts
	if err == nil && l != nil {
		n, err = l.drain(r.Context(), q)
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, n)
}

// drain starts nothing for a while, ends what runs if that is asked for, and waits until nothing runs.
func (l *loop) drain(ctx context.Context, q api.DrainRequest) (api.JobCounts, error) {
	_, err := l.do(ctx, &ask{inputs: func(ctx context.Context) ([]plan.Input, error) {
		l.drained = time.Time{}
		if q.HoldSeconds > 0 {
			l.drained = l.now().Add(seconds(q.HoldSeconds))
		}
		in := []plan.Input{plan.Drain{On: q.HoldSeconds > 0}}
		if !q.End {
			return in, nil
		}
		end, err := l.ending(ctx)
		return append(in, end...), err
	}})
	if err != nil {
		return api.JobCounts{}, explain(err)
	}
	limit, cancel := context.WithTimeout(ctx, min(seconds(q.WaitSeconds), waitLimit))
	defer cancel()
	for {
		changed := l.next()
		n, err := l.counts(ctx)
		if err != nil || n.Running == 0 {
			return n, err
		}
		select {
		case <-changed:
		case <-limit.Done():
			return n, ctx.Err()
		}
	}
}

// ending are the inputs that end all that runs. It is called in the loop.
func (l *loop) ending(ctx context.Context) (in []plan.Input, err error) {
	for _, id := range l.plan.Active() {
		job, err := l.job(ctx, id)
		if err != nil {
			return nil, err
		}
		if again, _ := job.Spec.Retrying(); again > 0 && job.State != queue.Stopping {
			in = append(in, plan.PutBack{ID: id, By: byStop})
		} else {
			in = append(in, plan.Cancel{ID: id, By: byStop})
		}
	}
	return in, nil
}

// lapse has the queue go on when nobody asked for a longer drain.
func (l *loop) lapse() (in []plan.Input) {
	if !l.drained.IsZero() && !l.now().Before(l.drained) {
		l.drained = time.Time{}
		in = append(in, plan.Drain{})
	}
	return in
}
