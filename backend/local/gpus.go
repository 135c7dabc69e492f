package local

import (
	"context"

	"berth/backend/agent"
	"berth/backend/api"
	"berth/gpu"
)

// gpus is what this host has, asked for once in the background: a driver may take seconds, and no
// call that creates or looks at an instance waits for it.
type gpus struct {
	done chan struct{}
	list []api.GPU
	err  string
}

func findGPUs() *gpus {
	g := &gpus{done: make(chan struct{}), list: []api.GPU{}}
	if !gpu.Present() {
		close(g.done)
		return g
	}
	go func() { // ends within Detect's own limit
		defer close(g.done)
		devices, err := gpu.Detect(context.Background())
		for _, d := range devices {
			x := api.GPU{Name: d.Name, MemoryBytes: d.MemoryBytes, Unified: d.Unified}
			if x.Unified {
				x.MemoryBytes = agent.MemoryBytes()
			}
			g.list = append(g.list, x)
		}
		if err != nil {
			g.err = err.Error()
		}
	}()
	return g
}

// wait waits until the answer is there.
func (g *gpus) wait(ctx context.Context) error {
	select {
	case <-g.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// known returns what is known now, and why it is not more, if the driver failed.
func (g *gpus) known() ([]api.GPU, string) {
	select {
	case <-g.done:
		return g.list, g.err
	default:
		return []api.GPU{}, ""
	}
}
