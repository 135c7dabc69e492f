package job

import (
	"context"
	"net/http"

	"berth/backend/api"
	"berth/queue/journal"
)

// handleCounts answers how many jobs run and wait, when that is another than what the request knows, or after a while.
func (s *service) handleCounts(w http.ResponseWriter, r *http.Request) {
	known := r.URL.Query().Get("not")
	ctx, cancel := context.WithTimeout(r.Context(), waitLimit)
	defer cancel()
	n, err := s.waitCounts(ctx, known)
	if err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, n)
}

// waitCounts returns the counts when they are not what is known, or when ctx ends. Who only watches begins no queue.
func (s *service) waitCounts(ctx context.Context, known string) (n api.JobCounts, err error) {
	if !journal.Exists(s.dir()) && known == n.String() {
		select {
		case <-s.began:
		case <-ctx.Done():
		}
	}
	if !journal.Exists(s.dir()) {
		return n, nil
	}
	l, err := s.queue()
	if err != nil {
		return n, err
	}
	for {
		changed := l.next()
		now, err := l.counts(ctx)
		if ctx.Err() != nil {
			return n, nil
		}
		if n = now; err != nil || n.String() != known {
			return n, err
		}
		select {
		case <-changed:
		case <-l.gone:
			return n, explain(errLeaves)
		case <-ctx.Done():
			return n, nil
		}
	}
}
