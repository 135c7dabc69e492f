package telemetry

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/service/store"
	"berth/gpu"
)

// toldOf is a Workspace that keeps what the hook was called for.
type toldOf struct {
	Workspace
	mu   *sync.Mutex
	told map[string]map[string]time.Time
}

func (toldOf) Record(string) (store.Instance, error) { return store.Instance{}, nil }

func (w toldOf) KeepTold(_ context.Context, id string, told map[string]time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told[id] = told
	return nil
}

// A switch that fails is a finding of every instance in the same second. Each hook is a process.
func TestHooksRunAFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most, called atomic.Int32
		let := make(chan struct{})
		hook := func(ctx context.Context, in *api.Instance, f *api.Attention) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			called.Add(1)
			require.Equal(t, "named "+f.ID, in.Name, "the instance is as it was when the finding was new")
			select {
			case <-let:
			case <-ctx.Done():
			}
		}
		w := toldOf{mu: new(sync.Mutex), told: map[string]map[string]time.Time{}}
		h := New(Options{Workspace: w, Hook: hook})
		found := func(i int) {
			id := fmt.Sprint("f-", i)
			x := &host{in: api.Instance{ID: id, Name: "named " + id, State: api.StateRunning},
				last: &gpu.Summary{Attention: []gpu.Finding{{ID: id, Since: time.Now()}}}}
			h.mu.Lock()
			h.hosts[id] = x
			h.find(x)
			x.in.Name = "renamed meanwhile"
			h.find(x) // it is told already
			h.mu.Unlock()
		}
		for i := range 200 {
			found(i)
		}
		synctest.Wait()
		require.EqualValues(t, hookParallel, most.Load())
		require.EqualValues(t, hookParallel, called.Load())
		w.mu.Lock()
		require.Empty(t, w.told, "nothing is noted before its hook has run")
		w.mu.Unlock()
		for range 100 {
			let <- struct{}{}
		}
		synctest.Wait()
		require.EqualValues(t, hookParallel, most.Load())
		h.Close()
		require.EqualValues(t, 100+hookParallel, called.Load(), "no hook begins when the hub has ended")
		require.Len(t, w.told, 100, "the next daemon calls the hook for the others")
	})
}
