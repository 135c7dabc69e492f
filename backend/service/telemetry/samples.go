package telemetry

import (
	"context"
	"slices"
	"sync"

	"berth/backend/api"
	"berth/gpu/prom"
)

// parallel is how many instances are asked at once.
const parallel = 32

// Samples asks every instance that runs, and that may be seen, for its figures, within ctx; one that does not answer is
// down.
func (h *Hub) Samples(ctx context.Context, see func(id string) bool) []prom.Target {
	ctx = h.o.Workspace.Background(ctx)
	var out []prom.Target
	h.eachUsable(ctx, see, func(all []api.Instance) {
		out = make([]prom.Target, len(all))
		for i := range all {
			out[i] = prom.Target{Hostname: all[i].Name, Instance: all[i].Name, Up: new(bool)}
		}
	}, func(i int, _ *api.Instance, client *api.AgentClient) {
		if s, err := client.Figures(ctx, api.ProcessSearch{}); err == nil {
			out[i].Sample, *out[i].Up = &s, true
		}
	})
	return out
}

// eachUsable hands begin all instances that may be seen, and calls f, some at a time, with a client of the agent of
// each that runs and may be asked; it waits for all, or until ctx ends.
func (h *Hub) eachUsable(ctx context.Context, see func(id string) bool, begin func([]api.Instance),
	f func(i int, in *api.Instance, client *api.AgentClient)) {
	sub, all := h.o.Workspace.Subscribe()
	sub.Close()
	all = slices.DeleteFunc(all, func(in api.Instance) bool { return !see(in.ID) })
	begin(all)
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i := range all {
		in := &all[i]
		rec, err := h.o.Workspace.Record(in.ID)
		if err != nil || !usable(in.State) || h.o.Workspace.May(ctx, api.ActionAccess, &rec.Instance) != nil {
			continue
		}
		wg.Go(func() {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
			case <-ctx.Done():
				return
			}
			client := h.o.Workspace.AgentClient(rec)
			defer client.Close()
			f(i, in, client)
		})
	}
	wg.Wait()
}
