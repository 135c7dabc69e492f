package job

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/queue"
	"berth/queue/plan"
)

func TestUsageByUserAndGroup(t *testing.T) {
	l, _, end := opened(t, t.TempDir())
	defer end()
	now := time.Now().UTC().Truncate(time.Second)
	l.see(plan.SetGPUs{GPUs: []plan.GPU{{GPU: queue.GPU{UUID: "GPU-a"}, Memory: 80 << 30}}})
	submit := func(user, group string, gpus int, ran time.Duration, ended time.Duration) {
		s := queue.Spec{Argv: []string{"true"}, Workdir: "/", User: user, Group: group, Request: queue.Request{GPUs: gpus}}
		id, err := l.submitWith(t.Context(), s, nil)
		require.NoError(t, err)
		at := now.Add(-ended)
		l.emit(queue.Event{ID: id, Attempt: 1, Started: &queue.Started{At: at.Add(-ran), Supervised: true}})
		l.emit(queue.Event{ID: id, Attempt: 1, Ended: &queue.Ended{At: at, CPU: ran / 2}})
		require.Eventually(t, func() bool {
			j, err := l.job(t.Context(), id)
			return err == nil && j.State == queue.Succeeded
		}, time.Minute, time.Millisecond)
	}
	submit("ann", "big", 1, time.Hour, time.Minute)
	submit("ann", "", 0, time.Hour, 2*time.Hour)
	submit("bob", "big", 1, 3*time.Hour, time.Minute)
	submit("bob", "", 0, time.Hour, 48*time.Hour)
	_, err := l.submitWith(t.Context(), queue.Spec{Argv: []string{"true"}, Workdir: "/", User: "eve", Hold: true}, nil)
	require.NoError(t, err)

	u, err := l.account(t.Context(), now.Add(-24*time.Hour), "user")
	require.NoError(t, err)
	require.Equal(t, []api.JobUsageRow{
		{Name: "bob", Jobs: 1, RunSeconds: 10800, CPUSeconds: 5400, GPUSeconds: 10800},
		{Name: "ann", Jobs: 2, RunSeconds: 7200, CPUSeconds: 3600, GPUSeconds: 3600}}, u.Rows)
	u, err = l.account(t.Context(), time.Time{}, "group")
	require.NoError(t, err)
	require.Equal(t, []api.JobUsageRow{
		{Name: "big", Jobs: 2, RunSeconds: 14400, CPUSeconds: 7200, GPUSeconds: 14400},
		{Jobs: 2, RunSeconds: 7200, CPUSeconds: 3600}}, u.Rows)
}
