package workspace

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/mem"
	"berth/backend/service/store"
)

// BenchmarkListWhileOperationsCommit measures how long a listing takes while 50 operations write their steps to a real
// database on the disk: b.N rounds of 50 restarts. It uses nothing but what clients of a workspace call.
func BenchmarkListWhileOperationsCommit(b *testing.B) {
	const fleet = 50
	st, err := store.Open(b.Context(), b.TempDir()+"/x.db")
	require.NoError(b, err)
	defer st.Close()
	m := mem.New()
	m.Line = backend.Line{Socket: "/somewhere"}
	w, err := Open(b.Context(), Options{Store: st, Backends: map[string]backend.Backend{"mem": m}, Dialer: newLines(b),
		Defaults: Defaults{Backend: "mem"}})
	require.NoError(b, err)
	defer w.Close()
	name := func(i int) string { return fmt.Sprintf("vision-%d", i) }
	all := func(begin func(i int) (api.Operation, error)) {
		var wg sync.WaitGroup
		for i := range fleet {
			wg.Go(func() {
				op, err := begin(i)
				for err == nil && !op.State.Done() {
					time.Sleep(10 * time.Millisecond)
					op, err = w.Operation(b.Context(), op.ID)
				}
				if err != nil || op.State != api.OpSucceeded {
					b.Errorf("%s: %v %v", name(i), err, op.Error)
				}
			})
		}
		wg.Wait()
	}
	all(func(i int) (api.Operation, error) { return w.Create(b.Context(), api.CreateRequest{Name: name(i)}) })

	var took []time.Duration
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			began := time.Now()
			if n := len(w.Instances(context.Background(), api.ListOptions{})); n != fleet {
				b.Errorf("%d instances", n)
			}
			took = append(took, time.Since(began))
		}
	}()
	b.ResetTimer()
	for range b.N {
		all(func(i int) (api.Operation, error) {
			return w.Action(b.Context(), name(i), "restart", api.ActionRequest{})
		})
	}
	b.StopTimer()
	close(stop)
	<-stopped
	slices.Sort(took)
	at := func(share float64) float64 { return float64(took[int(share*float64(len(took)-1))].Microseconds()) }
	b.ReportMetric(at(0.5), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
	b.ReportMetric(at(1), "max-µs")
	b.ReportMetric(float64(len(took)), "lists")
}
