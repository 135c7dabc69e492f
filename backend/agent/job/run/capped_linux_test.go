package run

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/process"
	"berth/queue"
)

// capped is a world in which memory can be limited.
func capped(t *testing.T) *world {
	if err := process.CanLimit(fmt.Sprintf("berth-test-%d", os.Getpid()), process.Limit{Memory: 64 << 20, CPUs: 1}); err != nil {
		if os.Geteuid() != 0 {
			t.Skipf("needs root: an ordinary user can't limit memory here: %v", err)
		}
		t.Skipf("memory can't be limited here: %v", err)
	}
	return newWorld(t)
}

// eater is a script's word for a program that takes so much memory.
func eater(t *testing.T, mib int) string {
	exe, err := os.Executable()
	require.NoError(t, err)
	return fmt.Sprintf("BERTH_TEST_EAT=%d '%s'", mib, exe)
}

const testLimit = 64_000_000

func (w *world) capped(n int64, script string) queue.Run {
	q := w.script(n, script)
	q.Spec.Memory = testLimit
	return q
}

// groupsOf are the control groups of a run's limits.
func (w *world) groupsOf(q queue.Run) []string {
	rec, err := process.ReadRecord(q.Dir, process.RecordName)
	require.NoError(w.t, err)
	require.NotNil(w.t, rec.Limit)
	require.Empty(w.t, rec.Limit.Why)
	out := []string{rec.Limit.MemoryGroup}
	if rec.Limit.CPUGroup != "" {
		out = append(out, rec.Limit.CPUGroup)
	}
	return out
}

func TestMemoryIsLimited(t *testing.T) {
	t.Parallel()
	w := capped(t)
	for n, c := range []struct {
		script string
		exit   int
		signal string
		oom    string
	}{
		{eater(t, 20), 0, "", ""},
		{"export " + strings.Replace(eater(t, 200), " ", "; exec ", 1), 137, "KILL", "a process"},
		{eater(t, 200) + "; exit 1", 1, "", "a process"}, // only a child is killed
		{eater(t, 200) + "; " + eater(t, 200) + "; exit 0", 0, "", "2 processes"},
	} {
		q := w.capped(int64(n+1), c.script)
		w.Start(w.ctx, q)
		e := w.ended(q)
		require.Equal(t, c.exit, e.Exit, log(q))
		require.Equal(t, c.signal, e.Signal)
		if c.oom == "" {
			require.Empty(t, e.OOM)
			require.Contains(t, log(q), "ate 20")
			require.Greater(t, e.PeakMemory, int64(20<<20))
		} else {
			require.Equal(t, "it used all of its 64 MB of memory (64 MB at most): the system killed "+c.oom+" of it", e.OOM)
			require.InDelta(t, testLimit, e.PeakMemory, 1<<20)
		}
		for _, dir := range w.groupsOf(q) {
			require.NoDirExists(t, dir, "it is removed")
		}
	}
	w.Wait()
}

// The agent is not there when the memory is used up, nor when the job ends.
func TestMemoryIsUsedUpWithoutAnAgent(t *testing.T) {
	t.Parallel()
	w := capped(t)
	q := w.capped(1, "echo up; while ! [ -e go ]; do sleep 0.01; done; "+eater(t, 200)+"; exit 3")
	w.Start(w.ctx, q)
	w.says(q, "up")
	groups := w.groupsOf(q)
	rec, err := process.ReadRecord(q.Dir, process.RecordName)
	require.NoError(t, err)
	w.stop()
	require.NoError(t, os.WriteFile(filepath.Join(w.Options.Workdir, "go"), nil, 0o600))
	require.NoError(t, process.AwaitEnd(t.Context(), rec.Shim))
	w.next()
	w.Adopt(w.ctx, q)
	e := w.ended(q)
	require.Equal(t, 3, e.Exit)
	require.Contains(t, e.OOM, "it used all of its 64 MB")
	w.Wait()
	require.NoDirExists(t, groups[0])
}

// The shim is killed, and then memory is used up: that is said, and the group goes.
func TestMemoryIsUsedUpWithoutAShim(t *testing.T) {
	t.Parallel()
	w := capped(t)
	q := w.capped(1, "echo up; while ! [ -e go ]; do sleep 0.01; done; "+eater(t, 200)+"; exit 3")
	q.Spec.CPUs = 1
	w.Start(w.ctx, q)
	w.says(q, "up")
	groups := w.groupsOf(q)
	rec, err := process.ReadRecord(q.Dir, process.RecordName)
	require.NoError(t, err)
	require.NoError(t, rec.Shim.Signal(syscall.SIGKILL))
	require.NoError(t, os.WriteFile(filepath.Join(w.Options.Workdir, "go"), nil, 0o600))
	require.Contains(t, w.ended(q).Lost, "it used all of its 64 MB")
	w.Wait()
	for _, dir := range groups {
		require.NoDirExists(t, dir)
	}
}

func TestProcessorsAreLimited(t *testing.T) {
	t.Parallel()
	w := capped(t)
	const show = `for v in OMP MKL OPENBLAS NUMEXPR; do eval echo "$v=\$${v}_NUM_THREADS"; done; cat go; echo up; while :; do sleep 0.01; done`
	q := w.script(1, show)
	q.Spec.CPUs, q.Spec.Env = 1, []string{"MKL_NUM_THREADS=7"}
	w.Start(w.ctx, q)
	w.says(q, "up")
	for _, want := range []string{"OMP=1", "MKL=7", "OPENBLAS=1", "NUMEXPR=1"} {
		require.Contains(t, log(q), want)
	}
	rec, err := process.ReadRecord(q.Dir, process.RecordName)
	require.NoError(t, err)
	file, want := "cpu.cfs_quota_us", "100000\n"
	if rec.Limit.V2 {
		file, want = "cpu.max", "100000 100000\n"
	}
	b, err := os.ReadFile(filepath.Join(rec.Limit.CPUGroup, file))
	require.NoError(t, err)
	require.Equal(t, want, string(b))
	b, err = os.ReadFile(filepath.Join(rec.Limit.CPUGroup, "cgroup.procs"))
	require.NoError(t, err)
	require.Contains(t, strings.Fields(string(b)), fmt.Sprint(rec.Child.PID))
	require.NotContains(t, strings.Fields(string(b)), fmt.Sprint(rec.Shim.PID), "its shim is not held up")
	w.Signal(w.ctx, q, queue.Signal{Name: "KILL", Scope: queue.All})
	require.Equal(t, "KILL", w.ended(q).Signal)
	require.Empty(t, w.ended(q).OOM, "nobody guesses from a code")
	w.Wait()
}

// What hides from everything but its control group is ended, too: it has a session of its own, nothing open, another
// environment, and ignores what asks it to end.
func TestWhatHidesIsKilled(t *testing.T) {
	t.Parallel()
	w := capped(t)
	q := w.capped(1, `setsid env -i /bin/sh -c '(trap "" TERM HUP INT; exec </dev/null >/dev/null 2>&1; echo $$ >pid; while :; do sleep 0.01; done) &'
while ! [ -s pid ]; do sleep 0.01; done; echo up; sleep 1000`)
	w.Start(w.ctx, q)
	w.says(q, "up")
	groups := w.groupsOf(q)
	w.Signal(w.ctx, q, queue.Signal{Name: "TERM", Scope: queue.Leader})
	e := w.ended(q)
	require.Equal(t, "TERM", e.Signal)
	require.NotEmpty(t, e.Left, "it is not over, and says by whose fault")
	require.DirExists(t, groups[0])
	w.Signal(w.ctx, q, queue.Signal{Name: "KILL", Scope: queue.All})
	w.left(q)
	w.Wait()
	require.NoDirExists(t, groups[0])
}

// Where a limit can't be set the job runs without, and says so.
func TestALimitThatCannotBeSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.script(1, "true")
	q.Spec.Memory = 1 << 50 // more than the system takes for a number of pages is not more than it has
	q.Spec.CPUs = 1 << 30   // but so much time there isn't
	w.Start(w.ctx, q)
	s := w.started(q)
	require.NotEmpty(t, s.Warnings)
	require.Contains(t, strings.Join(s.Warnings, "\n"), "no limit of memory or of CPUs can be set here, the job runs without: ")
	require.Zero(t, w.ended(q).Exit)
	w.Wait()
	require.Equal(t, "", Uncapped(context.Background(), w.host(os.Stderr), &queue.Spec{}))
}

func TestOOMText(t *testing.T) {
	for want, c := range map[string][3]int64{
		"": {0, 8e9, 8e9},
		"it used all of its 8.0 GB of memory (7.9 GB at most): the system killed a process of it":     {1, 8e9, 7.9e9},
		"it used all of its 8.0 GiB of memory (8.0 GiB at most): the system killed 3 processes of it": {3, 8 << 30, 9 << 30},
		"the machine had no memory left: the system killed a process of it":                           {1, 0, 5},
	} {
		require.Equal(t, want, oomText(int(c[0]), c[1], c[2]))
	}
}
