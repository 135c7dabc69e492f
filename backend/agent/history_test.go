package agent

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/gpu"
)

// A newer agent takes over the history, and the older one ends its probe.
func TestHistoryOutlivesTheAgent(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	_, c := startDetached(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() { // each second is kept
		defer close(watched)
		_ = c.WatchFigures(ctx, time.Second, api.ProcessSearch{}, func(gpu.Sample) error { return nil })
	}()
	defer func() { cancel(); <-watched }()
	points := func(c *api.AgentClient) int {
		h, err := c.History(t.Context(),
			api.HistoryOptions{Metrics: []string{"cpu_percent"}, Since: time.Now().Add(-time.Minute), Points: 10000})
		require.NoError(t, err)
		if len(h) == 0 {
			return 0
		}
		return len(h[0].Points)
	}
	eventually(t, "some seconds are in the history", func() bool { return points(c) >= 3 })
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(info.PID, syscall.SIGKILL))
	eventually(t, "it is dead", func() bool { _, err := c.Info(t.Context()); return err != nil })
	_, c = startDetached(t, o)
	require.GreaterOrEqual(t, points(c), 1, "what was measured before")
}
