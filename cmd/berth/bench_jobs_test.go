//go:build bench

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"berth/backend/agent/inside"
	"berth/backend/api"
)

// peer is a spooler that a user would pick instead, with its own folder. Env is what keeps it from the user's own.
type peer struct {
	submit func(args ...string) *exec.Cmd
	wait   func() *exec.Cmd // for all that was submitted; nil: it has none
}

// taskSpooler is tsp with n slots, or nil where it is not installed.
func taskSpooler(t *testing.T, n int) *peer {
	t.Helper()
	exe, err := exec.LookPath("tsp")
	if err != nil {
		fmt.Println("task-spooler is not installed: no figures beside it")
		return nil
	}
	dir := t.TempDir()
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command(exe, args...)
		cmd.Env = append(os.Environ(), "TS_SOCKET="+filepath.Join(dir, "socket"), "TMPDIR="+dir, "TS_MAXFINISHED=100000")
		return cmd
	}
	must(t, run("-S", strconv.Itoa(n)))
	t.Cleanup(func() { _ = run("-K").Run() })
	return &peer{submit: run, wait: func() *exec.Cmd { return run("-w") }}
}

// nq is nq, which runs one job after the other, or nil where it is not installed.
func nq(t *testing.T) *peer {
	t.Helper()
	exe, err := exec.LookPath("nq")
	if err != nil {
		fmt.Println("nq is not installed: no figures beside it")
		return nil
	}
	dir := t.TempDir()
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command(exe, args...)
		cmd.Env = append(os.Environ(), "NQDIR="+dir)
		return cmd
	}
	return &peer{submit: run, wait: func() *exec.Cmd { return run("-w") }}
}

// drained submits n jobs of true over one connection and returns how long it takes until the last has ended.
func drained(t *testing.T, c api.JobsClient, n int) time.Duration {
	t.Helper()
	began := time.Now()
	var last api.Job
	for range n {
		j, err := c.Submit(t.Context(), api.JobRequest{UUID: uuid.NewString(), Argv: []string{"true"}})
		require.NoError(t, err)
		last = j
	}
	waited(t, c, *last.ID) // as the other spooler waits for its last
	for {
		page, err := c.List(t.Context(), api.JobQuery{States: []api.JobState{api.JobQueued, api.JobPreparing, api.JobRunning,
			api.JobStopping}, Limit: 1})
		require.NoError(t, err)
		if len(page.Jobs) == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	took := time.Since(began)
	j, err := c.Get(t.Context(), *last.ID)
	require.NoError(t, err)
	require.Equal(t, api.JobSucceeded, j.State)
	return took
}

// durable submits 500 jobs that are held, and cancels them.
func durable(t *testing.T, where string, c api.JobsClient) {
	t.Helper()
	var submits []time.Duration
	var ids []string
	for range 500 {
		began := time.Now()
		j, err := c.Submit(t.Context(), api.JobRequest{UUID: uuid.NewString(), Argv: []string{"true"}, Hold: true})
		require.NoError(t, err)
		submits = append(submits, time.Since(began))
		ids = append(ids, *j.ID)
	}
	slices.Sort(submits)
	fmt.Printf("durable submit, %s: p50 %s, p99 %s\n", where, ms(submits[250]), ms(submits[495]))
	for _, id := range ids {
		_, err := c.Do(t.Context(), id, "cancel")
		require.NoError(t, err)
	}
}

// TestBenchJobs measures the queue beside task-spooler and nq, in pairs.
func TestBenchJobs(t *testing.T) {
	b := newBenchWorld(t)
	b.adopts("vision")
	c := b.client().Agent("vision").Jobs()
	pairs := 10
	if n, err := strconv.Atoi(os.Getenv("BERTH_BENCH_PAIRS")); err == nil {
		pairs = n
	}

	socket, err := b.command("run", "vision", "--follow", "--", "sh", "-c", "printf %s \"$"+api.AgentVariable+"\"").Output()
	require.NoError(t, err)
	t.Setenv(api.AgentVariable, string(socket))
	direct := inside.Client()
	t.Cleanup(direct.Close)
	durable(t, "at the agent's socket (target 2 and 8 ms)", direct.Jobs())
	durable(t, "through the daemon and sshd", c)

	one := func(name string, p *peer) {
		if p == nil {
			return
		}
		ours, theirs, r := inTurns(pairs, func() time.Duration {
			w, _ := must(t, b.command("run", "vision", "--", "true"))
			return w
		}, func() time.Duration { w, _ := must(t, p.submit("true")); return w })
		fmt.Printf("berth run: %s (target 30 ms); %s %s: %.2f x\n", ms(ours), name, ms(theirs), r)
	}
	spooler, single := taskSpooler(t, 4), nq(t)
	one("tsp", spooler)
	one("nq", single)

	const jobs = 200
	if spooler != nil {
		ours, theirs, r := inTurns(pairs, func() time.Duration { return drained(t, c, jobs) }, func() time.Duration {
			began := time.Now()
			for range jobs {
				must(t, spooler.submit("true"))
			}
			must(t, spooler.wait())
			return time.Since(began)
		})
		fmt.Printf("%d jobs of true to their end: %.0f a second (target 200); tsp %.0f: %.2f x as many (target 2 x)\n", jobs,
			jobs/ours.Seconds(), jobs/theirs.Seconds(), 1/r)
		fmt.Printf("the same at the agent's socket: %.0f a second\n", jobs/drained(t, direct.Jobs(), jobs).Seconds())
	}

	// How long a slot stays free while a job waits for it: two jobs, one slot's worth of resources at a time.
	var gaps []time.Duration
	first, err := c.Submit(t.Context(), api.JobRequest{UUID: uuid.NewString(), Argv: []string{"true"}, Hold: true})
	require.NoError(t, err)
	before := *first.ID
	for range 50 {
		j, err := c.Submit(t.Context(), api.JobRequest{UUID: uuid.NewString(), Argv: []string{"true"},
			After: []string{before}})
		require.NoError(t, err)
		before = *j.ID
	}
	_, err = c.Do(t.Context(), *first.ID, "release")
	require.NoError(t, err)
	var ended time.Time
	from, _ := strconv.Atoi(*first.ID)
	for id := from; id <= from+50; id++ {
		j := waited(t, c, strconv.Itoa(id))
		if !ended.IsZero() {
			gaps = append(gaps, j.StartedAt.Sub(ended))
		}
		ended = j.EndedAt
	}
	slices.Sort(gaps)
	fmt.Printf("from an end to the start of what waited for it: median %s, p90 %s (target 10 ms)\n", ms(gaps[len(gaps)/2]),
		ms(gaps[len(gaps)*9/10]))

	began := time.Now()
	a, err := c.Submit(t.Context(), api.JobRequest{UUID: uuid.NewString(), Argv: []string{"true"}, Array: "0-99999", Hold: true})
	require.NoError(t, err)
	submit := time.Since(began)
	began = time.Now()
	_, err = c.Do(t.Context(), *a.ID, "cancel")
	require.NoError(t, err)
	fmt.Printf("--array 0-99999: submit %s (target 50 ms), cancel %s (target 1 s)\n", ms(submit), ms(time.Since(began)))
}

// waited is a job that has ended.
func waited(t *testing.T, c api.JobsClient, id string) api.Job {
	t.Helper()
	var seq int64
	for {
		j, err := c.Wait(t.Context(), id, seq)
		require.NoError(t, err)
		if seq = j.Seq; j.State.Done() {
			return j
		}
	}
}
