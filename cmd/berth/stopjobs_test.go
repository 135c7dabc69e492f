package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// runs submits a job that runs until it is ended, and waits until it runs.
func (w *world) runs(name string, flags ...string) (id string) {
	w.t.Helper()
	r := w.run(append(append([]string{"run", name}, flags...), "--", "sleep", "600")...)
	require.Zero(w.t, r.code, r.err)
	id = strings.TrimSpace(r.out)
	eventually(w.t, "job "+id+" runs", func() bool { return w.job(name, id).State == api.JobRunning })
	return id
}

func (w *world) job(name, id string) (j api.Job) {
	w.t.Helper()
	r := w.run("job", "show", name, id, "--json")
	require.Zero(w.t, r.code, r.err)
	require.NoError(w.t, json.Unmarshal([]byte(r.out), &j))
	return j
}

// TestJobsAreAskedAboutBeforeAStop: where jobs run or wait, stop, restart and rm name how many, and do nothing where
// nobody can be asked. A stop that is insisted on ends what runs.
func TestJobsAreAskedAboutBeforeAStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	id := w.runs("vision")
	w.ok("run", "vision", "--hold", "--", "true")
	for _, verb := range []string{"stop", "restart", "rm"} {
		r := w.run(verb, "vision")
		require.Equal(t, 5, r.code, verb)
		require.Contains(t, r.err, "vision: 1 job runs, 1 waits")
		require.Contains(t, r.err, "--yes", verb)
	}
	var in api.Instance
	require.NoError(t, json.Unmarshal([]byte(w.run("show", "vision", "--json").out), &in))
	require.Equal(t, api.StateRunning, in.State)
	require.Equal(t, api.JobCounts{Running: 1, Waiting: 1}, in.Agent.Jobs)
	require.Equal(t, api.JobRunning, w.job("vision", id).State, "nothing was done")

	again := w.runs("vision", "--retries", "1")
	w.ok("stop", "-y", "vision")
	w.ok("start", "vision")
	j := w.job("vision", id)
	require.Equal(t, api.JobCancelled, j.State, "%+v", j)
	require.Equal(t, "the instance's stop", j.By)
	eventually(t, "what may be run again is", func() bool {
		j := w.job("vision", again)
		return j.State == api.JobRunning && j.Attempt == 2
	})
	w.ok("job", "cancel", "vision", "2", again)
	eventually(t, "it ends", func() bool { return w.job("vision", again).State == api.JobCancelled })
	r := w.run("stop", "vision")
	require.Zero(t, r.code, "no job is left to ask about: %s", r.err)
}

// TestAStopWhenIdle: no job is started once a stop waits for those that run, which outlives its client and the daemon;
// a start calls it off, and it comes when nothing runs.
func TestAStopWhenIdle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	first := w.runs("vision")
	stop := func() { // it takes a moment until the queue knows
		w.ok("stop", "--when-idle", "--no-wait", "vision")
		eventually(t, "the queue starts nothing", func() bool {
			id := strings.TrimSpace(w.run("run", "vision", "--", "true").out)
			return strings.Contains(w.job("vision", id).Reason, "about to stop")
		})
	}
	stop()
	next := strings.TrimSpace(w.run("run", "vision", "--", "sleep", "600").out)
	require.Contains(t, w.job("vision", next).Reason, "about to stop")
	state := func() api.State {
		var in api.Instance
		require.NoError(t, json.Unmarshal([]byte(w.run("show", "vision", "--json").out), &in))
		return in.State
	}
	require.Equal(t, api.StateRunning, state())
	w.ok("start", "vision")
	eventually(t, "the queue goes on", func() bool { return w.job("vision", next).State == api.JobRunning })

	stop()
	last := strings.TrimSpace(w.run("run", "vision", "--", "sleep", "600").out)
	require.NoError(t, syscall.Kill(w.pid(), syscall.SIGKILL))
	require.Equal(t, api.StateRunning, state(), "the next daemon waits on")
	w.ok("job", "cancel", "vision", first, next)
	eventually(t, "it stops", func() bool { return state() == api.StateStopped })
	w.ok("start", "vision")
	eventually(t, "what waited runs", func() bool { return w.job("vision", last).State == api.JobRunning })
	require.Equal(t, 1, w.job("vision", last).Attempt)
	r := w.run("stop", "--when-idle", "--force", "vision")
	require.Equal(t, 2, r.code, r.err)
}
