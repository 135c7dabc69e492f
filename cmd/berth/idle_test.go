package main

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/gpu/nvmltest"
)

// The daemon reads from a real agent's history when its GPUs were idle today. With BERTH_LONG=1 it is waited for
// minutes to pass, and for the GPU that works not to count.
func TestIdleToday(t *testing.T) {
	t.Parallel()
	gpus := nvmltest.A100s(2)
	gpus[0].Set(nvmltest.Utilization, 0)
	gpus[1].Set(nvmltest.Utilization, 90)
	fake := nvmltest.New(t, nvmltest.Scenario{GPUs: gpus})
	w := newWorld(t)
	w.env = fake.Env()
	w.ok("create", "vision")
	limit, minutes := time.Minute, 0.0
	if os.Getenv("BERTH_LONG") != "" {
		limit, minutes = 4*time.Minute, 2
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var last api.FleetFigures
	found := errors.New("found")
	err := w.client().WatchFleet(ctx, time.Second, func(f api.FleetFigures) error {
		last = f
		if d := f.IdleToday; d != nil && d.Why == "" && d.GPUSeconds >= 60*minutes {
			return found
		}
		return nil
	})
	require.ErrorIs(t, err, found, "%+v", last)
	require.NotNil(t, last.IdleToday.USD, "this computer costs nothing, which is known")
	require.Zero(t, *last.IdleToday.USD)
	require.Equal(t, time.Now().Format(time.DateOnly), last.IdleToday.Day)
	if minutes > 0 {
		require.Equal(t, 60*minutes, last.IdleToday.GPUSeconds, "only one of the two was idle")
	}
}
