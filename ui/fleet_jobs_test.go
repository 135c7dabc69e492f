package ui_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/ui/uitest"
)

// Jobs have a column once an instance has some, where there is room.
func TestJobsInTheFleet(t *testing.T) {
	list := uitest.Small(uitest.Epoch)
	d := drive(t, list...)
	require.NotContains(t, d.Screen(), "JOBS")
	in := list[1]
	uitest.JobCounts(d.WS, in.ID, api.JobCounts{Running: 3, Waiting: 2})
	d.Settle()
	d.To("notebook")
	require.Contains(t, d.Screen(), "JOBS")
	require.Contains(t, d.Row(), "3 run 2 wait")
	in.State = api.StateStopped
	d.WS.Put(in)
	d.Settle()
	require.NotContains(t, d.Row(), "3 run", "what it had when it ran is not what it has")
}
