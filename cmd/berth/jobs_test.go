package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// TestJobsUnderKills kills agent, daemon and submitting clients at random while jobs run, and then audits each
// acknowledged id: it was begun once, has its own exit code, and no id was given twice.
func TestJobsUnderKills(t *testing.T) {
	if testing.Short() {
		t.Skip("kills many processes")
	}
	t.Parallel()
	kills, jobs := 12, 60
	if n, err := strconv.Atoi(os.Getenv("BERTH_CHAOS")); err == nil {
		kills, jobs = n, 5*n
	}
	w := newWorld(t)
	w.ok("create", "vision")
	began := filepath.Join(t.TempDir(), "began")
	stop := make(chan struct{})
	killed := make(chan [2]int)
	shims := map[string]bool{} // jobs whose shim was killed
	go func() {                // ends with stop
		var agents, daemons int
		defer func() { killed <- [2]int{agents, daemons} }()
		for range kills {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(100+rand.IntN(400)) * time.Millisecond):
			}
			switch rand.IntN(5) {
			case 0:
				if id := w.killShim(); id != "" {
					shims[id] = true
				}
				continue
			case 1:
				c := w.client()
				d, err := c.Daemon().Info(t.Context()) // it may have been killed just before
				c.Close()
				if err == nil && syscall.Kill(d.PID, syscall.SIGKILL) == nil {
					daemons++
				}
				continue
			}
			c := w.client()
			info, err := c.Agent("vision").Info(t.Context())
			c.Close()
			if err == nil && syscall.Kill(info.PID, syscall.SIGKILL) == nil {
				agents++
			}
		}
	}()
	want := map[string]int{} // id → exit code
	for i := range jobs {
		code := i % 5
		limit := time.Minute
		if i%6 == 5 { // this client is killed
			limit = time.Duration(rand.IntN(150)) * time.Millisecond
		}
		r := w.runWithin(limit, "run", "vision", "--", "sh", "-c",
			fmt.Sprintf("echo $BERTH_JOB_ID $BERTH_ATTEMPT %d >>%s; sleep 0.%d; exit %d", i, began, i%4, code))
		id := strings.TrimSpace(r.out)
		if id == "" { // not acknowledged: it may have been taken, and then runs like any other
			continue
		}
		require.NotContains(t, want, id, "an id was given twice")
		want[id] = code
	}
	require.NotEmpty(t, want)
	got := map[string]result{}
	for id := range want {
		got[id] = w.runWithin(2*time.Minute, "job", "wait", "vision", id)
	}
	close(stop)
	n := <-killed
	t.Logf("%d agents, %d daemons and %d shims were killed; %d of %d submits were acknowledged", n[0], n[1], len(shims),
		len(want), jobs)
	for id, code := range want {
		if got[id].code == 125 && shims[id] {
			require.Contains(t, got[id].err, "its shim was ended")
			continue
		}
		require.Equal(t, code, got[id].code, "job %s: %s", id, got[id].err)
	}
	b, err := os.ReadFile(began)
	require.NoError(t, err)
	seen := map[string]bool{}
	for line := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n") {
		id, _, _ := strings.Cut(line, " ")
		require.False(t, seen[id], "job %s was begun twice", id)
		seen[id] = true
		require.Equal(t, "1", strings.Fields(line)[1])
	}
	for id := range want {
		require.True(t, seen[id] || shims[id], "job %s never began", id)
	}
	c := w.client()
	defer c.Close()
	eventually(t, "also what was taken and not acknowledged is done", func() bool {
		page, err := c.Agent("vision").Jobs().List(t.Context(), api.JobQuery{Limit: 1000})
		require.NoError(t, err)
		for _, j := range page.Jobs {
			require.True(t, j.State != api.JobLost || shims[*j.ID], "job %s: %s", *j.ID, j.Message)
			if !j.State.Done() {
				return false
			}
		}
		return true
	})
}

// killShim kills the shim of a job that runs, and returns the job's id; "": there was none. It is stopped before its id
// is read: it may be given the next job at any time.
func (w *world) killShim() string {
	of := func(p string) (pid int, id string) {
		before, id, _ := strings.Cut(p, " agent shim ")
		word, _, _ := strings.Cut(before, " ")
		pid, _ = strconv.Atoi(word)
		return pid, strings.Trim(id, ` "`)
	}
	for _, p := range processes(w.t, w.home) {
		pid, id := of(p)
		if id == "" || pid == 0 || syscall.Kill(pid, syscall.SIGSTOP) != nil {
			continue
		}
		for _, p := range processes(w.t, w.home) {
			if now, name := of(p); now == pid {
				id = name
			}
		}
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			return id
		}
	}
	return ""
}
