package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

func TestTheCostOfJobs(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	jobs := []api.Job{{StartedAt: now.Add(-3 * time.Hour), EndedAt: now.Add(-time.Hour)},
		{StartedAt: now.Add(-30 * time.Minute)}, {SubmittedAt: now}, {StartedAt: now, EndedAt: now.Add(-time.Second)}}
	withCost(jobs, nil, now)
	require.Nil(t, jobs[0].CostUSD, "a price that is not known is no price")
	price := 1.5
	withCost(jobs, &price, now)
	require.InDelta(t, 3, *jobs[0].CostUSD, 1e-9)
	require.InDelta(t, 0.75, *jobs[1].CostUSD, 1e-9)
	require.Nil(t, jobs[2].CostUSD, "it never ran")
	require.Zero(t, *jobs[3].CostUSD)
	require.Equal(t, "3", jobRecord(&jobs[0])[17])
	require.Empty(t, jobRecord(&jobs[2])[17])
}
