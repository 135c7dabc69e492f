package job

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"berth/backend/api"
	"berth/queue/journal"
	"berth/queue/plan"
)

// maxChanges is how many changes are told one by one.
const maxChanges = 200

func (s *service) handleChanges(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	epoch, after := v.Get("epoch"), int64(0)
	if n := v.Get("after"); n != "" {
		var err error
		if after, err = strconv.ParseInt(n, 10, 64); err != nil {
			api.WriteError(w, api.Errorf(api.CodeUsage, "after=%.30q is no change number", n))
			return
		}
	}
	// Who only watches begins no queue.
	if l, _ := s.opened(); l == nil && !journal.Exists(s.dir()) {
		limit := time.NewTimer(waitLimit)
		defer limit.Stop()
		if epoch == api.NoJobs {
			select {
			case <-s.began:
			case <-limit.C:
			case <-r.Context().Done():
			}
		}
		if l, _ := s.opened(); l == nil {
			api.WriteJSON(w, http.StatusOK, api.JobChanges{Epoch: api.NoJobs, Anew: epoch != api.NoJobs})
			return
		}
	}
	l, err := s.queue()
	var x api.JobChanges
	if err == nil {
		x, err = l.changes(r.Context(), epoch, after)
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, x)
}

// changes returns what changed after a change number, when there is something, or after a while.
func (l *loop) changes(ctx context.Context, epoch string, after int64) (api.JobChanges, error) {
	x := api.JobChanges{Epoch: l.journal.Epoch(), Seq: after}
	limit, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	for {
		changed := l.next()
		var last int64
		if _, err := l.do(ctx, &ask{look: func(*plan.Planner) { last = l.journal.Seq() }}); err != nil {
			return x, explain(err)
		}
		if epoch != x.Epoch || after > last {
			x.Seq, x.Anew = last, true
			return x, nil
		}
		if after < last {
			jobs, err := l.journal.Changed(ctx, after, maxChanges+1)
			switch {
			case err != nil:
				return x, err
			case len(jobs) > maxChanges:
				x.Seq, x.Anew = last, true
				return x, nil
			case len(jobs) > 0:
				last = max(last, jobs[len(jobs)-1].Seq)
			}
			x.Seq = last
			x.Jobs, err = l.shown(ctx, jobs)
			return x, err
		}
		select {
		case <-changed:
		case <-limit.Done():
			return x, ctx.Err()
		}
	}
}
