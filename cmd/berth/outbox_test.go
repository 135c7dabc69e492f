package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/service/workspace"
)

// TestJobsWaitForTheirInstance: a job for a stopped instance waits under its UUID, over a kill of the daemon, and is
// handed over when that runs. It is known by its UUID also then.
func TestJobsWaitForTheirInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	w.ok("stop", "vision")
	r := w.run("run", "vision", "--name", "mine", "--", "sh", "-c", "echo hello; exit 3")
	require.Zero(t, r.code, r.err)
	require.Equal(t, "berth: waits for vision to start; this laptop must be awake until then\n", r.err)
	first := strings.TrimSpace(r.out)
	j := w.job("vision", first)
	require.Nil(t, j.ID)
	require.Equal(t, first, j.UUID)
	require.Equal(t, api.JobQueued, j.State)
	bad := strings.TrimSpace(w.ok("run", "vision", "--workdir", "/nonexistent", "--", "true"))
	gone := strings.TrimSpace(w.ok("run", "vision", "--", "true"))
	require.Contains(t, w.ok("job", "ls", "vision"), "waits for vision to start")
	require.Contains(t, w.run("__complete", "job", "cancel", "vision", "").out, first+"\tmine")
	require.Equal(t, 1, w.run("job", "logs", "vision", first).code)
	require.Equal(t, 1, w.run("job", "hold", "vision", first).code)
	require.Equal(t, 1, w.run("job", "rm", "vision", first).code)
	require.Equal(t, 3, w.run("job", "show", "nobody", first).code)
	w.ok("job", "cancel", "vision", gone[:9])
	require.Equal(t, 130, w.run("job", "wait", "vision", gone).code)
	r = w.run("rm", "vision")
	require.Equal(t, 5, r.code)
	require.Contains(t, r.err, "vision: 2 jobs wait for it to start. All are lost.")
	require.Equal(t, 2, w.show("vision").JobsKept)

	r = w.run("run", "vision", "--secret", "PATH", "--", "true")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.err, "secrets can't wait")

	require.NoError(t, syscall.Kill(w.pid(), syscall.SIGKILL))
	waiter := make(chan result)
	go func() { waiter <- w.run("job", "wait", "vision", first) }()
	w.ok("start", "vision")
	require.Equal(t, 3, (<-waiter).code, "who waits for it does so from before it has an id")
	j = w.job("vision", first)
	require.Equal(t, "1", *j.ID)
	require.Contains(t, j.SubmittedBy, "@")
	require.Equal(t, "hello\n", w.ok("job", "logs", "vision", first))
	require.Equal(t, "1", *w.job("vision", first[:9]).ID)
	eventually(t, "what is not taken fails", func() bool { return w.job("vision", bad).State == api.JobFailed })
	require.Contains(t, w.job("vision", bad).Message, "/nonexistent")
	list := w.ok("job", "ls", "vision")
	require.Contains(t, list, bad[:8])
	require.Contains(t, list, "mine")
	require.Zero(t, w.show("vision").JobsKept)
	w.ok("job", "rm", "vision", bad, gone)
	require.NotContains(t, w.ok("job", "ls", "vision"), bad[:8])
	require.Equal(t, 3, w.run("job", "show", "vision", bad).code)
	require.Contains(t, w.ok("events", "vision"), "it is job 1 there")
}

// TestRunStarts: --start starts the instance, and the job has its id then.
func TestRunStarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	w.ok("stop", "vision")
	r := w.run("run", "vision", "--start", "--json", "--", "true")
	require.Zero(t, r.code, r.err)
	var j api.Job
	require.NoError(t, json.Unmarshal([]byte(r.out), &j))
	require.Equal(t, "1", *j.ID)
	require.Equal(t, api.StateRunning, w.show("vision").State)
	require.Equal(t, "2\n", w.ok("run", "vision", "--start", "--", "true"), "one that runs is not started")
	w.ok("stop", "-y", "vision")
	require.Equal(t, 7, w.run("run", "vision", "--start", "--follow", "--", "sh", "-c", "exit 7").code)
	w.ok("stop", "-y", "vision")
	r = w.run("run", "vision", "--start", "--workdir", "/nonexistent", "--", "true")
	require.Equal(t, 1, r.code, r.err)
	require.Contains(t, r.err, "/nonexistent")
	require.Empty(t, r.out)
}

// TestDaemonStaysForJobs: a daemon that ends when it is idle does not while a job waits for its instance.
func TestDaemonStaysForJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env = []string{"BERTH_DAEMON_IDLE=300ms"}
	w.ok("create", "vision")
	w.ok("stop", "vision")
	id := strings.TrimSpace(w.ok("run", "vision", "--", "true"))
	pid := w.pid()
	log := func() string {
		b, err := os.ReadFile(w.at().Log())
		require.NoError(t, err)
		return string(b)
	}
	ended := strings.Count(log(), "ending: idle")
	for range 10 {
		syscall.Select(0, nil, nil, nil, &syscall.Timeval{Usec: 100_000})
		require.NoError(t, syscall.Kill(pid, 0), "it runs")
	}
	require.Equal(t, ended, strings.Count(log(), "ending: idle"))
	w.ok("job", "cancel", "vision", id)
	eventually(t, "it ends then", func() bool { return strings.Count(log(), "ending: idle") > ended })
}

// TestDaemonKilledOverTheOutbox kills the daemon at each point of a job's way through the outbox: each job that was
// acknowledged is begun, once.
func TestDaemonKilledOverTheOutbox(t *testing.T) {
	for _, point := range workspace.OutboxFaultPoints() {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ok("create", "vision")
			w.ok("stop", "vision")
			w.ok("daemon", "stop")
			struck := filepath.Join(t.TempDir(), "struck")
			began := filepath.Join(t.TempDir(), "began")
			code := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(code, "here"), []byte("it is\n"), 0o600))
			w.env = []string{"BERTH_TEST_FAULT=" + point + " " + struck}
			args := []string{"run", "vision", "--sync", code, "--", "sh", "-c"}
			var ids []string
			for i := range 3 {
				r := w.run(append(args, fmt.Sprintf("cat here && echo %d >>%s", i, began))...)
				require.Zero(t, r.code, r.err)
				ids = append(ids, strings.TrimSpace(r.out))
			}
			w.ok("start", "vision")
			for _, id := range ids {
				require.Zero(t, w.run("job", "wait", "vision", id).code)
			}
			require.FileExists(t, struck, "the point was not reached")
			b, err := os.ReadFile(began)
			require.NoError(t, err)
			require.ElementsMatch(t, []string{"0", "1", "2"}, strings.Fields(string(b)))
			var jobs []api.Job
			require.NoError(t, json.Unmarshal([]byte(w.ok("job", "ls", "vision", "--json")), &jobs))
			require.Len(t, jobs, 3)
			require.Zero(t, w.show("vision").JobsKept)
		})
	}
}
