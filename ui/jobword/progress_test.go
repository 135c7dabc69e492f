package jobword

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

func TestProgress(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.Local)
	of := func(v float64) *float64 { return &v }
	for want, p := range map[string]api.JobProgress{
		"": {},
		"37%, 4 it/s, until about 14:05": {Percent: of(37.9), From: api.FromOutput, Rate: 4, Unit: "it",
			EndAt: now.Add(125 * time.Minute)},
		"20% of Epoch 3, 1.3 s/step":                          {Percent: of(20), Of: "Epoch 3", Rate: 0.75, Unit: "step"},
		"25% of what it took before, until about Dec 1 02:00": {Percent: of(25), From: api.FromHistory, EndAt: now.Add(14 * time.Hour)},
		"50% of its time":                                     {Percent: of(50), From: api.FromTimeLimit},
		"0%":                                                  {Percent: of(0), EndAt: now.Add(-time.Hour)},
		"45% of a transfer, 4.3 MiB/s":                        {Percent: of(45), Of: "a transfer", Rate: 4.5e6, Unit: "B"},
	} {
		require.Equal(t, want, Progress(&p, now))
	}
}
