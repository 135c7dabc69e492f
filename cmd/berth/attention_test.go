package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/gpu"
)

func TestWhatSeveralInstancesFindOfOneHostIsOneRow(t *testing.T) {
	now := time.Now()
	list := []api.Instance{{Name: "a", ID: "i-a"}, {Name: "b", ID: "i-b"}, {Name: "far", ID: "i-far"}}
	full := func(host string, age time.Duration) api.FleetFigures {
		return api.FleetFigures{Attention: []api.Attention{
			{Finding: gpu.Finding{ID: "disk-full:/", Rule: "disk-full", Subject: "/", Since: now.Add(-age)}, Host: host},
			{Finding: gpu.Finding{ID: "gpu-idle", Rule: "gpu-idle", Subject: "GPUs", Since: now}}}}
	}
	known := map[string]api.FleetFigures{"i-a": full("here", time.Hour), "i-b": full("here", 2*time.Hour), "i-far": full("", 0)}
	rows := attentionRows(list, known, false, now)
	require.Len(t, rows, 5)
	require.Equal(t, []string{"a", "b"}, rows[0].Instances)
	require.Equal(t, now.Add(-2*time.Hour), rows[0].Since, "since the first found it")
	for _, r := range rows[1:] {
		require.Empty(t, r.Instances, "what is about one instance is its own")
	}
	f := known["i-a"]
	f.Attention[0].Acknowledged, f.Attention[1].MutedUntil = true, &now
	require.Len(t, attentionRows(list, known, false, now.Add(-time.Second)), 4, "b's row, and far's, and b's GPUs")
	require.Len(t, attentionRows(list, known, true, now.Add(-time.Second)), 5)
}
