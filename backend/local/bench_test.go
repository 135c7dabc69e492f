package local

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/agent"
	"berth/backend/api"
	"berth/backend/transport/wire"
)

// BenchmarkCreate measures from Create until a shell on the instance has printed something.
func BenchmarkCreate(b *testing.B) {
	be := open(b, nil)
	n := 0
	var ready time.Duration
	for b.Loop() {
		n++
		begun := time.Now()
		m, err := be.Create(b.Context(), backend.Spec{Token: fmt.Sprint("op", n), Name: "bench"})
		require.NoError(b, err)
		accepted := time.Since(begun)
		c := agent.NewClient(m.Line.Socket)
		for {
			if _, err := c.Info(b.Context()); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		ready += time.Since(begun)
		s, err := c.OpenTerminal(b.Context(), api.TerminalRequest{New: true})
		require.NoError(b, err)
		for k := wire.Started; k != wire.Stdout; {
			k, _, err = s.Reader.Next()
			require.NoError(b, err)
		}
		b.StopTimer()
		_ = s.Close()
		c.Close()
		b.Logf("accepted after %v, agent after %v", accepted, time.Since(begun))
		ref := backend.Ref{ID: m.ID}
		require.NoError(b, be.Delete(b.Context(), ref))
		waitGone(b, be, ref)
		b.StartTimer()
	}
	b.ReportMetric(float64(ready.Milliseconds())/float64(n), "ms/agent")
}
