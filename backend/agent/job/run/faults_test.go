package run

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/joblog"
	"berth/backend/agent/process"
	"berth/backend/base/atomicfile"
	"berth/backend/base/flock"
	"berth/gpu/procs/proc"
	"berth/queue"
)

// killed plays an agent that begins the runs and is killed after a while. It returns what it had told by then.
func (w *world) killed(after time.Duration, runs ...queue.Run) (events []queue.Event) {
	w.t.Helper()
	a := w.agent
	a.Runs, a.Slots = runs, rand.IntN(4) // with few, shims are given one run after the other
	in, err := json.Marshal(a)
	require.NoError(w.t, err)
	cmd := exec.Command(agenttest.Program(w.t))
	cmd.Env = append(os.Environ(), "BERTH_TEST_AGENT=1")
	cmd.Stdin = bytes.NewReader(in)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(w.t, err)
	require.NoError(w.t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	dec := json.NewDecoder(out)
	var e queue.Event
	require.NoError(w.t, dec.Decode(&e)) // it begins now
	time.AfterFunc(after, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	for {
		var e queue.Event
		if dec.Decode(&e) != nil { // the last one may be torn
			return events
		}
		events = append(events, e)
	}
}

// TestAgentsThatAreKilled kills agents at random moments, one after the other, while they begin jobs: each job runs
// once, and ends with its own code.
func TestAgentsThatAreKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kills, each := 12, 4
	if n, err := strconv.Atoi(os.Getenv("BERTH_CHAOS")); err == nil {
		kills = n
	} else if testing.Short() {
		kills = 3
	}
	ran := filepath.Join(w.Options.Workdir, "ran")
	var all []queue.Run
	begun := map[queue.ID]bool{}
	for k := range kills {
		for i := range each {
			n := k*each + i
			all = append(all, w.script(int64(n+1), fmt.Sprintf("echo %d >>%s; sleep 0.0%d; exit %d", n+1, ran, i, n%100)))
		}
		for i := range all {
			all[i].Begun = begun[all[i].ID]
		}
		for _, e := range w.killed(time.Duration(rand.IntN(300))*time.Millisecond, all...) {
			if e.Started != nil {
				begun[e.ID] = true
			}
		}
	}
	t.Logf("%d of %d jobs had begun", len(begun), len(all))
	for _, q := range all {
		q.Begun = begun[q.ID]
		w.Adopt(w.ctx, q)
	}
	for n, q := range all {
		e := w.ended(q)
		require.Equal(t, n%100, e.Exit, "%+v", e)
		require.Empty(t, e.Lost+e.Signal+e.Failed)
	}
	w.Wait()
	b, err := os.ReadFile(ran)
	require.NoError(t, err)
	times := map[string]int{}
	for _, l := range strings.Fields(string(b)) {
		times[l]++
	}
	require.Len(t, times, len(all))
	for l, n := range times {
		require.Equal(t, 1, n, "runs of job %s", l)
	}
}

// TestWhatAKilledAgentLeaves has each state of a run's folder that the end of an agent, a shim or the machine can
// leave, in their order.
func TestWhatAKilledAgentLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	self, err := proc.Self()
	require.NoError(t, err)
	gone := self
	gone.Start--
	otherBoot := self
	otherBoot.Boot = "5f0e9a52-6f0b-4a86-9e0a-2b3d4c5e6f70"
	record := func(q queue.Run, shim proc.Identity) {
		require.NoError(t, os.WriteFile(filepath.Join(q.Dir, "exit"), nil, 0o600))
		require.NoError(t, atomicfile.Write(filepath.Join(q.Dir, process.RecordName),
			process.Record{Protocol: process.Protocol, ID: "1", Shim: shim, Mark: "BERTH_JOB_RUN=of nobody"}))
	}
	for i, c := range []struct {
		name  string
		make  func(q queue.Run)
		begun bool
		lost  string // "": it runs
	}{
		{name: "nothing", make: func(q queue.Run) { require.NoError(t, os.Remove(q.Dir)) }},
		{name: "a folder", make: func(queue.Run) {}},
		{name: "a log", make: func(q queue.Run) {
			require.NoError(t, os.WriteFile(filepath.Join(q.Dir, "log"), nil, 0o600))
		}},
		{name: "a shim killed before its record", make: func(q queue.Run) {
			require.NoError(t, os.WriteFile(filepath.Join(q.Dir, "exit"), nil, 0o600))
		}},
		{name: "a shim killed before the start", make: func(q queue.Run) { record(q, gone) }, lost: "its shim was ended"},
		{name: "a reboot", make: func(q queue.Run) { record(q, otherBoot) }, lost: "the machine was restarted"},
		{name: "a torn exit", make: func(q queue.Run) {
			record(q, otherBoot)
			require.NoError(t, os.WriteFile(filepath.Join(q.Dir, "exit"), []byte("exit {\"code\":0"), 0o600))
		}, lost: "is torn"},
		{name: "a folder that is gone", make: func(q queue.Run) { require.NoError(t, os.Remove(q.Dir)) }, begun: true,
			lost: "is gone"},
	} {
		q := w.script(int64(i+1), "exit 7")
		require.NoError(t, os.MkdirAll(q.Dir, 0o700))
		c.make(q)
		q.Begun = c.begun
		w.Adopt(w.ctx, q)
		e := w.ended(q)
		if c.lost == "" {
			require.Equal(t, 7, e.Exit, c.name)
			require.Empty(t, e.Lost)
			continue
		}
		require.Equal(t, -1, e.Exit, c.name)
		require.Contains(t, e.Lost, c.lost, c.name)
		require.Len(t, w.of(q), 1, "%s: it did not run", c.name)
	}

	// A shim of another agent is about to write its record: it is waited for.
	q := w.script(100, "exit 7")
	require.NoError(t, os.MkdirAll(q.Dir, 0o700))
	lock, err := flock.Open(filepath.Join(q.Dir, "exit"))
	require.NoError(t, err)
	w.Adopt(w.ctx, q)
	time.Sleep(100 * time.Millisecond)
	require.Empty(t, w.of(q))
	require.NoError(t, lock.Close()) // it was killed
	require.Equal(t, 7, w.ended(q).Exit)
}

// TestTwoAgents begin the same runs at the same time.
func TestTwoAgents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := &world{t: t, agent: w.agent}
	other.next()
	defer other.stop()
	ran := filepath.Join(w.Options.Workdir, "ran")
	for n := range int64(10) {
		q := w.script(n+1, "echo x >>"+ran+"; exit 3")
		go other.Start(other.ctx, q)
		w.Start(w.ctx, q)
		require.Equal(t, 3, w.ended(q).Exit)
		require.Equal(t, 3, other.ended(q).Exit)
		require.Equal(t, w.started(q).PID, other.started(q).PID)
	}
	b, err := os.ReadFile(ran)
	require.NoError(t, err)
	require.Equal(t, 10, strings.Count(string(b), "x"))
}

// TestAShimThatIsKilled: the job goes on unsupervised, and is lost only when no process of it is left.
func TestAShimThatIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.script(1, "setsid sleep 1000 & echo up; wait")
	w.Start(w.ctx, q)
	w.says(q, "up")
	pid := w.started(q).PID
	rec, err := process.ReadRecord(q.Dir, process.RecordName)
	require.NoError(t, err)
	require.NoError(t, rec.Shim.Signal(syscall.SIGKILL))
	s := w.await(q, "that it is unsupervised", func(e queue.Event) bool { return e.Started != nil && !e.Started.Supervised })
	require.Equal(t, pid, s.Started.PID)
	require.NoError(t, rec.Child.Signal(syscall.SIGKILL))
	w.next()
	w.Adopt(w.ctx, q)
	require.False(t, w.started(q).Supervised)
	time.Sleep(20 * time.Millisecond)
	require.Len(t, w.of(q), 1, "its background process lives")
	w.Signal(w.ctx, q, queue.Signal{Name: "KILL", Scope: queue.All})
	e := w.ended(q)
	require.Equal(t, -1, e.Exit)
	require.Contains(t, e.Lost, "its shim was ended")
	w.Wait()
}

// The limit of a log is kept though its shim, which keeps it, is gone.
func TestALimitIsKeptWithoutAShim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.script(1, "echo up; while ! [ -e go ]; do sleep 0.01; done; head -c 12000000 /dev/zero | tr '\\0' 'a' | fold -w 80; sleep 1000")
	q.Spec.LogLimit = 1 << 20
	w.Start(w.ctx, q)
	w.says(q, "up")
	rec, err := process.ReadRecord(q.Dir, process.RecordName)
	require.NoError(t, err)
	require.NoError(t, rec.Shim.Signal(syscall.SIGKILL))
	w.await(q, "that it is unsupervised", func(e queue.Event) bool { return e.Started != nil && !e.Started.Supervised })
	require.NoError(t, os.WriteFile(filepath.Join(w.Options.Workdir, "go"), nil, 0o600))
	require.Eventually(t, func() bool {
		log, err := joblog.Open(q.Dir)
		require.NoError(t, err)
		defer log.Close()
		size, cut, err := log.Size()
		require.NoError(t, err)
		return size > 12_000_000 && cut.Bytes() > 5_000_000
	}, time.Minute, 20*time.Millisecond)
	w.Signal(w.ctx, q, queue.Signal{Name: "KILL", Scope: queue.All})
	w.ended(q)
	w.Wait()
}

// Agents come and go while a job runs and when it has ended.
func TestAgentsComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.script(1, "echo up; while ! [ -e go ]; do sleep 0.01; done; exit 5")
	w.Start(w.ctx, q)
	pid := w.started(q).PID
	for range 5 {
		w.next()
		w.Adopt(w.ctx, q)
		require.Equal(t, pid, w.started(q).PID)
	}
	w.stop()
	require.NoError(t, os.WriteFile(filepath.Join(w.Options.Workdir, "go"), nil, 0o600))
	agenttest.Eventually(t, "the end", func() bool {
		return process.Look(q.Dir, process.RecordName).Fate == process.Ended
	})
	for range 2 {
		w.next()
		w.Adopt(w.ctx, q)
		require.Equal(t, 5, w.ended(q).Exit)
		require.Len(t, w.of(q), 2)
	}
	require.Equal(t, "up\n", log(q))
}
