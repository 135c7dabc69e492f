package run

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

	"berth/backend/agent/agenttest"
	"berth/backend/agent/lease"
	"berth/backend/agent/process"
	"berth/gpu/procs/proc"
	"berth/queue"
)

// shimOf is the shim of a run that has begun.
func (w *world) shimOf(q queue.Run) proc.Identity {
	w.t.Helper()
	rec, err := process.ReadRecord(q.Dir, process.RecordName)
	require.NoError(w.t, err)
	return rec.Shim
}

// inTurn runs a job to its end, and returns its shim.
func (w *world) inTurn(q queue.Run) proc.Identity {
	w.t.Helper()
	w.Start(w.ctx, q)
	e := w.ended(q)
	require.Empty(w.t, e.Failed+e.Lost+e.Signal, log(q))
	require.Empty(w.t, e.Left)
	return w.shimOf(q)
}

// idle waits until the shim of the last run is free.
func (w *world) idle() {
	w.t.Helper()
	agenttest.Eventually(w.t, "a shim to be free", func() bool { return w.shims.Free() > 0 })
}

// TestOneJobAfterTheOther: a shim is given the next job, and nothing of one job comes to another.
func TestOneJobAfterTheOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// What a program can see of what it was started with, but for what is its own.
	const look = `ls -l /proc/self/fd | sed 's/.*-> //' | sed 's#/[0-9]*/1/#/N/1/#; s#[0-9]*/fd#N/fd#; s/:.*//' | sort
umask; ulimit -a; grep -E '^(Sig[PBIC]|Shd|Groups|NoNew|Threads|Cpus_allowed_list)' /proc/self/status; pwd
env | grep -vE '^(BERTH_JOB|_=|SHLVL)' | sort
sed 's/berth-job-.*//' /proc/self/cgroup; ps -o args= -p $PPID`
	first := w.script(1, look)
	shim := w.inTurn(first)
	want := log(first)
	require.Contains(t, want, "\n0022\n")
	require.NotContains(t, want, "/exit", "its descriptors are the log and no more")

	// Jobs that change what they can change.
	dirty := w.script(2, `umask 0777; ulimit -n 20; trap '' TERM HUP INT; export LEAK=1; cd /; exec 9>/dev/null`)
	dirty.Spec.Env, dirty.Spec.LogLimit = []string{"PRIVATE=hunter2"}, 1<<20
	large := w.job(30, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
	for n := int64(2); n < 40; n++ {
		q := dirty
		if n == 30 {
			q = large
		}
		q.ID.Number, q.Dir = n, w.job(n).Dir
		w.idle()
		require.Equal(t, shim, w.inTurn(q), "job %d", n)
	}
	last := w.script(41, look)
	w.idle()
	require.Equal(t, shim, w.inTurn(last))
	require.Equal(t, strings.Replace(want, " 1   ", " 41  ", 1), log(last), "ps shows whose the shim is, and all else is the same")

	// What it used is its own.
	require.Greater(t, w.ended(large).PeakMemory, int64(60<<20))
	require.Less(t, w.ended(last).PeakMemory, int64(30<<20))
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", shim.PID))
	if err == nil { // else it has just ended
		require.Less(t, len(fds), 12)
	}
	agenttest.Eventually(t, "the shim to end, since no other job comes", func() bool { return shim.Look() == proc.Gone })
}

// TestAShimThatKeepsNoOther: what may be left in it, or of its job, comes to no other job.
func TestAShimThatKeepsNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.script(1, `test "$TOKEN" = hunter2`)
	q.Spec.Secrets = []string{"TOKEN"}
	require.NoError(t, w.secrets.Keep(q.Spec.UUID, map[string]string{"TOKEN": "hunter2"}))
	shim := w.inTurn(q)
	require.Zero(t, w.ended(q).Exit)
	agenttest.Eventually(t, "the shim's end", func() bool { return shim.Look() == proc.Gone })

	left := w.script(2, "sleep 1000 & echo $!")
	w.Start(w.ctx, left)
	require.Equal(t, []string{"sleep"}, w.ended(left).Left)
	shim = w.shimOf(left)
	other := w.script(3, "exit 3")
	w.Start(w.ctx, other)
	require.Equal(t, 3, w.ended(other).Exit)
	require.NotEqual(t, shim, w.shimOf(other))
	pid, err := strconv.Atoi(strings.TrimSpace(log(left)))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	w.left(left)

	// One that was told to end while it was free ends no job, but that which comes at the same moment.
	for n := int64(5); n < 15; n++ {
		free := w.inTurn(w.script(n+100, "exit 5"))
		w.idle()
		_ = free.Signal(syscall.SIGTERM)
		q = w.script(n, "exit 5")
		w.Start(w.ctx, q)
		if e := w.ended(q); e.Signal != "TERM" {
			require.Equal(t, 5, e.Exit)
		}
	}
	// One that can't be used any more is not waited for.
	for n := int64(20); n < 30; n++ {
		free := w.inTurn(w.script(n+100, "exit 5"))
		w.idle()
		_ = free.Signal(syscall.SIGKILL)
		q = w.script(n, "exit 6")
		w.Start(w.ctx, q)
		require.Equal(t, 6, w.ended(q).Exit)
	}
}

// TestSignalsOfAJobThatIsOver reach no other job that its shim keeps by then.
func TestSignalsOfAJobThatIsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for n := int64(1); n <= 20; n += 2 {
		a, b := w.script(n, "exit 1"), w.script(n+1, "sleep 0.02; exit 2")
		w.Start(w.ctx, a)
		go func() {
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			w.Signal(w.ctx, a, queue.Signal{Name: "KILL", Scope: queue.All})
		}()
		w.ended(a)
		w.Start(w.ctx, b)
		e := w.ended(b)
		require.Equal(t, 2, e.Exit, "%+v %+v", e, w.of(b))
	}
}

// TestShimsThatAreKilled are killed at random moments while they are given one job after the other: each job runs once
// at most, and each end is its own.
func TestShimsThatAreKilled(t *testing.T) {
	// Not at once with others: it kills all shims.
	w := newWorld(t)
	ran := filepath.Join(w.Options.Workdir, "ran")
	jobs := int64(60)
	if n, err := strconv.Atoi(os.Getenv("BERTH_CHAOS")); err == nil {
		jobs = int64(n) * 5
	}
	lost := 0
	for n := int64(1); n <= jobs; n++ {
		q := w.script(n, fmt.Sprintf("echo %d. >>%s; exit %d", n, ran, n%100))
		if n%3 == 0 {
			time.AfterFunc(time.Duration(rand.IntN(12_000))*time.Microsecond, func() {
				for _, pid := range shims(w.Shim) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			})
		}
		w.Start(w.ctx, q)
		e := w.ended(q)
		b, _ := os.ReadFile(ran)
		count := strings.Count("\n"+string(b), fmt.Sprintf("\n%d.\n", n))
		if e.Lost != "" {
			lost++
			require.LessOrEqual(t, count, 1)
			continue
		}
		require.Equal(t, 1, count)
		require.EqualValues(t, n%100, e.Exit)
	}
	t.Logf("%d jobs, %d of them lost with their shims", jobs, lost)
}

// shims are the processes of a program that this one has started.
func shims(program string) (pids []int) {
	all, err := proc.All()
	if err != nil {
		return nil
	}
	for _, st := range all {
		if exe, err := proc.Exe(st.PID); err == nil && exe == program && st.PPID == os.Getpid() {
			pids = append(pids, st.PID)
		}
	}
	return pids
}

// TestAKilledShimFreesNoGPU: the program has the lease of its GPU, whoever else dies; another job waits for it, and
// begins when it is free.
func TestAKilledShimFreesNoGPU(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	folder, err := lease.Open([]string{filepath.Join(t.TempDir(), "leases")})
	require.NoError(t, err)
	w.Leases = func() (*lease.Folder, error) { return folder, nil }
	gpus := []queue.GPU{{UUID: "GPU-a"}, {UUID: "GPU-b", Index: 1}}
	first, next := w.script(1, "echo begun; while ! [ -e end ]; do sleep 0.01; done"), w.job(2, "true")
	first.GPUs, next.GPUs = gpus, gpus[1:]
	w.Start(w.ctx, first)
	w.says(first, "begun\n")
	require.NoError(t, syscall.Kill(w.shimOf(first).PID, syscall.SIGKILL))
	w.await(first, "that its shim is gone", func(e queue.Event) bool { return e.Started != nil && !e.Started.Supervised })
	held := folder.Holders([]string{"GPU-a", "GPU-b"})
	require.Len(t, held, 2)
	require.Equal(t, []string{"1", w.Options.State}, []string{held["GPU-b"].Job, held["GPU-b"].Home})
	w.Start(w.ctx, next)
	e := w.await(next, "why it waits", func(e queue.Event) bool { return e.Delayed != nil })
	require.Regexp(t, "^job 1 of .+ has the GPU GPU-b$", e.Delayed.Why)
	require.NoError(t, os.WriteFile(filepath.Join(first.Spec.Workdir, "end"), nil, 0o600))
	require.Zero(t, w.ended(next).Exit)
	agenttest.Eventually(t, "nothing is held", func() bool { return len(folder.Holders([]string{"GPU-a", "GPU-b"})) == 0 })
}

// TestARunWhoseGPUSomebodyElseHas is not begun, and can be begun later as if nothing had been.
func TestARunWhoseGPUSomebodyElseHas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	folder, err := lease.Open([]string{filepath.Join(t.TempDir(), "leases")})
	require.NoError(t, err)
	w.Leases = func() (*lease.Folder, error) { return folder, nil }
	held, err := folder.Take([]string{"GPU-b"}, lease.Holder{User: "bob", UID: os.Getuid(), Home: "/another", Job: "7"})
	require.NoError(t, err)
	q := w.script(1, "echo begun")
	q.GPUs = []queue.GPU{{UUID: "GPU-a"}, {UUID: "GPU-b", Index: 1}}
	for n := 1; n <= 3; n++ {
		w.Start(w.ctx, q)
		agenttest.Eventually(t, "it is refused", func() bool { return len(w.of(q)) == n })
		require.Equal(t, "job 7 of bob", w.of(q)[n-1].Refused.Why)
		require.NotContains(t, folder.Holders([]string{"GPU-a"}), "GPU-a")
	}
	held.Close()
	w.Start(w.ctx, q)
	require.Zero(t, w.ended(q).Exit)
	require.Equal(t, "begun\n", log(q))
}

// TestRanks: the shim's program starts several processes, which have the leases of the job's GPUs and the port where
// they meet.
func TestRanks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	folder, err := lease.Open([]string{filepath.Join(t.TempDir(), "leases")})
	require.NoError(t, err)
	w.Leases = func() (*lease.Folder, error) { return folder, nil }
	q := w.script(1, `echo $RANK of $WORLD_SIZE at $MASTER_ADDR; touch $RANK; while ! [ -e end ]; do sleep 0.01; done; exit $RANK`)
	q.Spec.Ranks, q.GPUs = 2, []queue.GPU{{UUID: "GPU-a"}, {UUID: "GPU-b", Index: 1}}
	w.Start(w.ctx, q)
	agenttest.Eventually(t, "both run", func() bool {
		_, err := os.Stat(filepath.Join(q.Spec.Workdir, "0"))
		_, err2 := os.Stat(filepath.Join(q.Spec.Workdir, "1"))
		return err == nil && err2 == nil
	})
	rec, err := process.ReadRecord(q.Dir, process.RecordName)
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(rec.Shim.PID, syscall.SIGKILL))
	require.Len(t, folder.Holders([]string{"GPU-a", "GPU-b"}), 2)
	require.NoError(t, os.WriteFile(filepath.Join(q.Spec.Workdir, "end"), nil, 0o600))
	w.ended(q)
	said := strings.Split(log(q), "\n")
	for _, want := range []string{"[0] 0 of 2 at 127.0.0.1", "[1] 1 of 2 at 127.0.0.1"} {
		require.Contains(t, said, want)
	}
	agenttest.Eventually(t, "nothing is held", func() bool { return len(folder.Holders([]string{"GPU-a", "GPU-b"})) == 0 })

	fails := w.script(2, `exit $((RANK * 4))`)
	fails.Spec.Ranks = 2
	w.Start(w.ctx, fails)
	require.Equal(t, 4, w.ended(fails).Exit)
}
