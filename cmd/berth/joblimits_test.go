package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// TestLimitsOfAQueue: how many jobs run at once is set, told as the reason of what waits, and kept over the agent's
// end; how many there are stands in the list of the fleet.
func TestLimitsOfAQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	require.NotContains(t, w.ok("ls"), "JOBS")
	r := w.run("set", "vision", "jobs.slots=1", "jobs.group.big=0")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "vision runs 1 job at once; of group big 0")
	r = w.run("set", "vision")
	require.Zero(t, r.code, r.err)
	require.Equal(t, "jobs.slots=1\njobs.default_gpus=1\njobs.group.big=0\n", r.out)
	var limits api.QueueLimits
	require.NoError(t, json.Unmarshal([]byte(w.ok("set", "vision", "--json")), &limits))
	require.Equal(t, map[string]int{"big": 0}, limits.Groups)
	require.Equal(t, 1, limits.Slots)
	for args, code := range map[string]int{
		"jobs.slots=0": 2, "jobs.slots=many": 2, "jobs.group.=1": 2, "jobs.group.g=-1": 2, "jobs.other=1": 2, "jobs.slots": 2,
		"jobs.slots=2 owner=me": 2, "jobs.slots=99999": 2,
	} {
		r := w.run(append([]string{"set", "vision"}, strings.Fields(args)...)...)
		require.Equal(t, code, r.code, "%s: %s", args, r.err)
	}

	first := w.submit("--", "sh", "-c", "echo step 1/4; echo step 2/4; sleep 60")
	next := w.submit("--", "true")
	big := w.submit("--group", "big", "--", "true")
	eventually(t, "the first says how far it is", func() bool {
		p := w.job("vision", first).ProgressPercent
		return p != nil && *p == 25
	})
	require.Contains(t, w.job("vision", next).Reason, "it is the next, and waits for a slot")
	require.Contains(t, w.job("vision", big).Reason, "it waits for its group big, of which 0 jobs run at once")
	require.Contains(t, w.ok("job", "ls", "vision"), "25%")
	eventually(t, "the list has the counts", func() bool { return strings.Contains(w.ok("ls"), "1 run 2 wait") })

	c := w.client()
	defer c.Close()
	agent := c.Agent("vision")
	w.killAgent(syscall.SIGKILL)
	limits, err := agent.Jobs().Limits(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, limits.Slots)
	require.Equal(t, map[string]int{"big": 0}, limits.Groups)
	require.Equal(t, api.JobQueued, w.job("vision", next).State)

	q, err := agent.Jobs().Request(t.Context(), first)
	require.NoError(t, err)
	require.Equal(t, []string{"sh", "-c", "echo step 1/4; echo step 2/4; sleep 60"}, q.Argv)

	w.ok("set", "vision", "jobs.slots=", "jobs.group.big=")
	require.Zero(t, w.run("job", "wait", "vision", next, big).code)
	w.ok("job", "cancel", "vision", first)
	w.run("job", "wait", "vision", first)
	eventually(t, "the list has none any more", func() bool { return !strings.Contains(w.ok("ls"), "JOBS") })
}
