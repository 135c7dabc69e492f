package telemetry

import (
	"context"
	"time"

	"berth/backend/api"
	"berth/backend/service/store"
)

const (
	// jobsPace is the least time between two answers of one agent about how many jobs it has.
	jobsPace = time.Second
	// jobsAgain is how long after one could not be asked it is asked again.
	jobsAgain = 30 * time.Second
)

// NoteJobs says that an instance has jobs, or gets one: how many there are is followed until there is none, though
// nobody watches the figures.
func (h *Hub) NoteJobs(rec store.Instance) {
	if h.o.Jobs == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.noted[rec.ID]++; h.noted[rec.ID] > 1 || h.ctx.Err() != nil {
		return
	}
	h.wg.Go(func() { h.followNoted(rec) })
}

// followNoted follows how many jobs an instance has until it has none, and was not said to get another one meanwhile.
func (h *Hub) followNoted(rec store.Instance) {
	client := h.o.Workspace.AgentClient(rec)
	defer client.Close()
	for ctx := h.o.Workspace.Background(h.ctx); ; {
		h.mu.Lock()
		noted := h.noted[rec.ID]
		h.mu.Unlock()
		h.followJobs(ctx, rec.ID, client, false)
		h.mu.Lock()
		done := h.noted[rec.ID] == noted || ctx.Err() != nil
		if done {
			delete(h.noted, rec.ID)
		}
		h.mu.Unlock()
		if done {
			return
		}
	}
}

// followJobs tells how many jobs of an instance run and wait until ctx ends. An agent in whose queue nothing begins,
// waits or ends says nothing but that it is there, every 25 seconds. One that is older than this is not asked again. Of
// one that is followed for its jobs only the end is theirs, or that of its line.
func (h *Hub) followJobs(ctx context.Context, id string, client *api.AgentClient, always bool) {
	var known *api.JobCounts
	for ctx.Err() == nil {
		n, err := client.Jobs().Counts(ctx, known)
		wait := jobsPace
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if known == nil || *known != n {
				h.o.Jobs(id, n)
			}
			if known = &n; n == (api.JobCounts{}) && !always {
				return
			}
		case !always || api.AsError(err).Code == api.CodeNotFound || api.AsError(err).Code == api.CodeUnsupported:
			return
		default:
			wait = jobsAgain
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}
