package fleet

import (
	"context"
	"sync"

	"berth/backend/api"
	"berth/gpu"
	"berth/gpu/prom"
)

// parallel is how many instances are asked for a whole sample at once.
const parallel = 32

// Samples asks every instance that runs for its figures, within ctx; one that does not answer is down.
func (h *Hub) Samples(ctx context.Context) []prom.Target {
	sub, all := h.o.Workspace.Subscribe()
	sub.Close()
	ctx = h.o.Workspace.Background(ctx)
	out := make([]prom.Target, len(all))
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i := range all {
		in := &all[i]
		up := false
		out[i] = prom.Target{Hostname: in.Name, Instance: in.Name, Up: &up}
		if !usable(in.State) {
			continue
		}
		wg.Go(func() {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
			case <-ctx.Done():
				return
			}
			if s, err := h.sample(ctx, in); err == nil {
				out[i].Sample, up = s, true
			}
		})
	}
	wg.Wait()
	return out
}

func (h *Hub) sample(ctx context.Context, in *api.Instance) (*gpu.Sample, error) {
	rec, err := h.o.Workspace.Record(in.ID)
	if err != nil {
		return nil, err
	}
	if err := h.o.Workspace.MayOpen(&rec); err != nil {
		return nil, err
	}
	client := h.o.Workspace.AgentClient(rec)
	defer client.Close()
	s, err := client.Figures(ctx)
	return &s, err
}
