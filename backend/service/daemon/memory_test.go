package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/mem"
	"berth/backend/service/store"
	"berth/backend/service/telemetry"
	"berth/backend/service/workspace"
	"berth/gpu"
)

// manyAgents plays the agents of all instances: each sends its figures again and again.
type manyAgents struct {
	stop chan struct{}
	wg   sync.WaitGroup
	sent atomic.Int64
}

func (a *manyAgents) Forget(context.Context, backend.Endpoint, string) (*backend.Shared, error) {
	return nil, nil
}

// Agent implements workspace.Lines.
func (a *manyAgents) Agent(context.Context, backend.Endpoint) (net.Conn, error) {
	here, there := net.Pipe()
	a.wg.Go(func() {
		defer there.Close()
		req, err := http.ReadRequest(bufio.NewReaderSize(there, 512))
		if err != nil {
			return
		}
		if req.URL.Path != "/v1/summary" {
			_, _ = io.WriteString(there, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
			return
		}
		if _, err = io.WriteString(there, "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"); err != nil {
			return
		}
		for percent := 1.0; ; percent++ {
			b, _ := json.Marshal(gpu.Summary{At: time.Now(), CPU: &percent}) // it can't fail
			if _, err := there.Write(append(b, '\n')); err != nil {
				return
			}
			a.sent.Add(1)
			select {
			case <-a.stop:
				return
			case <-time.After(time.Second):
			}
		}
	})
	return here, nil
}

// instances is how many the test follows.
var instances = 10_000

// TestLivingHeapIsNotCollectedWithoutEnd follows the figures of all instances in a process whose memory was set up as a
// daemon's is at rest. Garbage is collected when much of it was made, not because much lives.
func TestLivingHeapIsNotCollectedWithoutEnd(t *testing.T) {
	if testing.Short() || os.Getenv("BERTH_CHAOS") == "" {
		t.Skip("follows 10,000 instances: BERTH_CHAOS=1 has it run")
	}
	st, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	require.NoError(t, err)
	defer st.Close()
	var fill store.Change
	for i := range instances {
		in := store.Instance{Line: backend.Line{Socket: "/somewhere"}}
		in.ID, in.Name, in.Backend, in.State = fmt.Sprint("i-", i), fmt.Sprint("n-", i), "mem", api.StateRunning
		fill.Instances = append(fill.Instances, in)
	}
	require.NoError(t, st.Apply(t.Context(), &fill))
	a := &manyAgents{stop: make(chan struct{})}
	ws, err := workspace.Open(t.Context(), workspace.Options{Store: st, Dialer: a, Log: slog.New(slog.DiscardHandler),
		Backends: map[string]backend.Backend{"mem": mem.New()}})
	require.NoError(t, err)
	defer ws.Close()
	hub := telemetry.New(telemetry.Options{Workspace: ws, Log: slog.New(slog.DiscardHandler)})
	keep := collectLess()
	debug.FreeOSMemory()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)

	ctx, cancel := context.WithCancel(t.Context())
	heard := map[string]bool{}
	all := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		_ = hub.Watch(ctx, time.Second, func(batch []api.FleetFigures) error {
			for _, f := range batch {
				if f.Summary != nil && len(heard) < instances {
					if heard[f.Instance] = true; len(heard) == instances {
						close(all)
					}
				}
			}
			return nil
		})
	}()
	select {
	case <-all:
	case <-time.After(2 * time.Minute):
		t.Error("not all agents were heard")
	}
	// All are connected; now figures come.
	for from := a.sent.Load(); a.sent.Load() < from+3*int64(instances); {
		time.Sleep(10 * time.Millisecond)
	}
	runtime.ReadMemStats(&after)
	cancel()
	close(a.stop)
	<-watched
	hub.Close()
	a.wg.Wait()
	runtime.KeepAlive(keep)
	made, cycles := after.TotalAlloc-before.TotalAlloc, after.NumGC-before.NumGC
	t.Logf("%d MB in the end; %d MB made; collected %d times", after.HeapAlloc>>20, made>>20, cycles)
	require.LessOrEqual(t, uint64(cycles), 2+made/idleHeap)
}
