package run

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/environ"
	"berth/backend/agent/joblog"
	"berth/backend/agent/process"
	"berth/gpu/procs/proc"
	"berth/queue"
)

func TestAJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.job(7, "/bin/sh", "-c", `read x || echo no input
echo "$0|$1|$2"; echo to stderr >&2; pwd; env -0 >env; exit 9`, "a b", "c\nd", "")
	q.Spec.Env = []string{"E=1\n2", "BASH_FUNC_f%%=() {  echo f\n}", "FROM_LOGIN=x"}
	w.Start(w.ctx, q)
	w.Start(w.ctx, q) // once
	e := w.ended(q)
	require.Equal(t, 9, e.Exit)
	require.Empty(t, e.Signal+e.Failed+e.Lost)
	require.Empty(t, e.Left)
	require.Positive(t, e.CPU)
	require.Greater(t, e.PeakMemory, int64(100<<10))
	require.Equal(t, "no input\na b|c\nd|\nto stderr\n"+w.Options.Workdir+"\n", log(q))
	events := w.of(q)
	require.Len(t, events, 2)
	require.True(t, events[0].Started.Supervised)
	require.WithinDuration(t, time.Now(), events[0].Started.At, time.Minute)
	b, err := os.ReadFile(filepath.Join(w.Options.Workdir, "env"))
	require.NoError(t, err)
	env := strings.Split(string(b), "\x00")
	for _, want := range []string{"E=1\n2", "BASH_FUNC_f%%=() {  echo f\n}", "FROM_LOGIN=x", "PYTHONUNBUFFERED=1",
		"BERTH_JOB_ID=7", "BERTH_JOB_UUID=uuid-7", "BERTH_ATTEMPT=1", "BERTH_INSTANCE=t"} {
		require.True(t, slices.Contains(env, want) || strings.HasPrefix(want, "BASH_FUNC"), "%q in %q", want, env)
	}
	require.NotContains(t, string(b), "BERTH_ARRAY")
	w.Wait()
	require.Empty(t, w.runs)
}

// A program's environment comes by execve: shells drop what others hand on.
func TestTheEnvironmentIsExact(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.job(7, "env", "-0")
	q.ID = queue.ID{Number: 7, Index: 3, Element: true}
	q.Spec.Env = []string{"BASH_FUNC_f%%=() {  echo f\n}", "PYTHONUNBUFFERED=0", "BERTH_JOB_ID=9", "B=\xff\xfe"}
	w.Start(w.ctx, q)
	require.Zero(t, w.ended(q).Exit)
	env := strings.Split(log(q), "\x00")
	for _, want := range []string{"BASH_FUNC_f%%=() {  echo f\n}", "PYTHONUNBUFFERED=0", "BERTH_JOB_ID=7_3", "B=\xff\xfe",
		"BERTH_ARRAY_ID=7", "BERTH_ARRAY_INDEX=3", "FROM_LOGIN=a\nb"} {
		require.Contains(t, env, want)
	}
}

func TestWhatCannotBeRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plain := filepath.Join(w.Options.Workdir, "plain")
	require.NoError(t, os.WriteFile(plain, []byte("no program"), 0o600))
	garbage := filepath.Join(w.Options.Workdir, "garbage")
	require.NoError(t, os.WriteFile(garbage, []byte("\x01\x02"), 0o700))
	for n, c := range []struct {
		exit   int
		failed string
		change func(*queue.Run)
	}{
		{127, `the command "nothing-of-that-name" was not found`, func(q *queue.Run) { q.Spec.Argv = []string{"nothing-of-that-name"} }},
		{127, "there is no /nothing/here", func(q *queue.Run) { q.Spec.Argv = []string{"/nothing/here"} }},
		{126, "permission denied", func(q *queue.Run) { q.Spec.Argv = []string{plain} }},
		{126, "exec format error", func(q *queue.Run) { q.Spec.Argv = []string{garbage} }},
		{126, "it is a folder", func(q *queue.Run) { q.Spec.Argv = []string{"/tmp"} }},
		{126, "longer than the system", func(q *queue.Run) { q.Spec.Argv = []string{"true", strings.Repeat("x", 1<<20)} }},
		{127, "no command was given", func(q *queue.Run) { q.Spec.Argv = nil }},
		{126, "the working directory /nowhere", func(q *queue.Run) { q.Spec.Workdir = "/nowhere" }},
		{126, "the values of its secrets are gone: TOKEN", func(q *queue.Run) { q.Spec.Secrets = []string{"TOKEN"} }},
	} {
		q := w.job(int64(n+1), "true")
		c.change(&q)
		w.Start(w.ctx, q)
		e := w.ended(q)
		require.Equal(t, c.exit, e.Exit, c.failed)
		require.Contains(t, e.Failed, c.failed)
		require.Empty(t, e.Lost)
		require.Len(t, w.of(q), 1, "it was never started")
	}
}

func TestAScriptForTheShell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.job(1, `echo "$# $1 $BERTH_ATTEMPT" | cat; exit 3`, "a b")
	q.Spec.Shell, q.Attempt = true, 2
	w.Start(w.ctx, q)
	require.Equal(t, 3, w.ended(q).Exit)
	require.Equal(t, "1 a b 2\n", log(q))
}

// A signal goes to the main process, to its children where it is a shell, and no deeper.
func TestSignalsOfTheLeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const worker = `trap "echo worker" USR1 TERM; echo ready; while :; do sleep 0.01; done`
	const program = `import os,signal,subprocess,sys,time
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"program\n"))
subprocess.Popen(["sh", "-c", sys.argv[1]])
while True: time.sleep(0.1)`
	q := w.job(1, "bash", "-c", `trap 'echo shell' USR1; python3 -c "$0" "$1" & while :; do wait; done`, program, worker)
	w.Start(w.ctx, q)
	w.says(q, "ready")
	w.Signal(w.ctx, q, queue.Signal{Name: "USR1", Scope: queue.Leader})
	w.says(q, "shell")
	w.says(q, "program")
	require.NotContains(t, log(q), "worker")
	w.Signal(w.ctx, q, queue.Signal{Name: "USR1", Scope: queue.All})
	w.says(q, "worker")

	direct := w.job(2, "python3", "-c", program, worker)
	w.Start(w.ctx, direct)
	w.says(direct, "ready")
	w.Signal(w.ctx, direct, queue.Signal{Name: "USR1", Scope: queue.Leader})
	w.says(direct, "program")
	require.NotContains(t, log(direct), "worker")

	// Stopped, and continued.
	w.Signal(w.ctx, q, queue.Signal{Name: "STOP", Scope: queue.All})
	members := func() []proc.Stat {
		rec, err := process.ReadRecord(q.Dir, process.RecordName)
		require.NoError(t, err)
		ms, err := rec.Set().Members()
		require.NoError(t, err)
		var out []proc.Stat
		for _, m := range ms {
			if s, err := proc.ReadStat(m.PID); err == nil {
				out = append(out, s)
			}
		}
		return out
	}
	agenttest.Eventually(t, "all to be stopped", func() bool {
		return !slices.ContainsFunc(members(), func(s proc.Stat) bool { return s.State != 'T' })
	})
	require.GreaterOrEqual(t, len(members()), 3)
	w.Signal(w.ctx, q, queue.Signal{Name: "CONT", Scope: queue.All})
	agenttest.Eventually(t, "all to go on", func() bool {
		return !slices.ContainsFunc(members(), func(s proc.Stat) bool { return s.State == 'T' })
	})
	for _, x := range []queue.Run{q, direct} {
		w.Signal(w.ctx, x, queue.Signal{Name: "KILL", Scope: queue.All})
		e := w.ended(x)
		require.Equal(t, "KILL", e.Signal)
		require.Equal(t, 137, e.Exit)
	}
	w.Wait()
	for _, x := range []queue.Run{q, direct} {
		rec, err := process.ReadRecord(x.Dir, process.RecordName)
		require.NoError(t, err)
		empty, err := rec.Set().Empty()
		require.NoError(t, err)
		require.True(t, empty)
	}
}

// What the main process leaves running is told until it is gone, however it hides.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.script(1, `nohup sleep 1000 >/dev/null 2>&1 & setsid env -i /bin/sh -c '(echo $$ >pid; exec tail -f /dev/null) &'
while ! [ -s pid ]; do sleep 0.01; done; exit 4`)
	w.Start(w.ctx, q)
	e := w.ended(q)
	require.Equal(t, 4, e.Exit)
	require.Equal(t, []string{"sleep", "tail"}, e.Left)
	require.NotEmpty(t, w.runs)

	w.next() // another agent finds them, too
	w.Adopt(w.ctx, q)
	require.Equal(t, []string{"sleep", "tail"}, w.ended(q).Left)
	w.Signal(w.ctx, q, queue.Signal{Name: "TERM", Scope: queue.All})
	w.left(q)
	w.Wait()

	// They end by themselves.
	q = w.script(2, `sleep 0.3 & exit 0`)
	w.Start(w.ctx, q)
	require.Equal(t, []string{"sleep"}, w.ended(q).Left)
	w.left(q)
	w.Wait()
}

func TestASignalBeforeTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	full := filepath.Join(w.Options.State, "jobs")
	require.NoError(t, os.Symlink("nowhere", full)) // no folder can be made there
	q := w.script(1, "true")
	w.Start(w.ctx, q)
	d := w.await(q, "the delay", func(e queue.Event) bool { return e.Delayed != nil }).Delayed
	require.Contains(t, d.Why, "making the job's folder")
	w.Signal(w.ctx, q, queue.Signal{Name: "USR1", Scope: queue.Leader})
	w.Signal(w.ctx, q, queue.Signal{Name: "TERM", Scope: queue.Leader})
	e := w.ended(q)
	require.Equal(t, "TERM", e.Signal)
	require.Equal(t, 143, e.Exit)
	w.Wait()
	require.NoDirExists(t, q.Dir)

	q = w.script(2, "echo runs; sleep 1000")
	w.Start(w.ctx, q)
	w.Signal(w.ctx, q, queue.Signal{Name: "KILL", Scope: queue.All}) // before or after its start
	require.Equal(t, "KILL", w.ended(q).Signal)
	w.Wait()
	for _, e := range w.of(q) {
		require.Nil(t, e.Left)
	}
}

// TestALogWithALimit follows a job that writes much more than its limit.
func TestALogWithALimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.script(1, `yes "a line of the log" | head -c 30000000; echo; echo the end; sleep 1000`)
	q.Spec.LogLimit = 1 << 20
	w.Start(w.ctx, q)
	if s := w.started(q); len(s.Warnings) > 0 {
		require.Contains(t, s.Warnings[0], "the log has no limit")
		t.Skip(s.Warnings)
	}
	log, err := joblog.Open(q.Dir)
	require.NoError(t, err)
	defer log.Close()
	over := make(chan struct{})
	followed := make(chan error, 1)
	zeros, last := 0, ""
	go func() {
		followed <- log.Follow(t.Context(), 0, over, func(_ int64, b []byte) error {
			zeros += bytes.Count(b, []byte{0})
			last = string(b)
			return nil
		})
	}()
	agenttest.Eventually(t, "the cut", func() bool {
		size, cut, err := log.Size()
		return err == nil && size > 30000000 && size-cut.Bytes() < joblog.Head+6<<20
	})
	agenttest.Eventually(t, "the hole", func() bool {
		fi, err := os.Stat(joblog.Path(q.Dir))
		return err == nil && fi.Sys().(*syscall.Stat_t).Blocks*512 < 9<<20
	})
	w.Signal(w.ctx, q, queue.Signal{Name: "TERM", Scope: queue.Leader})
	require.NotEmpty(t, w.ended(q).Signal)
	close(over)
	require.NoError(t, <-followed)
	require.Zero(t, zeros)
	require.True(t, strings.HasSuffix(last, "\nthe end\n"), "%.100q", last)
	tail, err := log.Last(1, 1000)
	require.NoError(t, err)
	require.Equal(t, "the end\n", string(tail))
}

func TestWhichGPUsAProgramSees(t *testing.T) {
	gpus := []queue.GPU{{UUID: "GPU-a", Index: 3}, {UUID: "GPU-b", Index: 0}}
	for _, c := range []struct {
		has    bool
		gpus   []queue.GPU
		byUUID bool
		want   []string
	}{
		{},
		{has: true, want: []string{"CUDA_VISIBLE_DEVICES=-1", "BERTH_GPU_UUIDS="}},
		{has: true, gpus: gpus, want: []string{"CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=3,0", "BERTH_GPU_UUIDS=GPU-a,GPU-b"}},
		{has: true, gpus: gpus[:1], byUUID: true,
			want: []string{"CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=GPU-a", "BERTH_GPU_UUIDS=GPU-a"}},
		{has: true, gpus: []queue.GPU{{UUID: "MIG-x", Index: 3, MIG: true}},
			want: []string{"CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=MIG-x", "BERTH_GPU_UUIDS=MIG-x"}},
	} {
		x := &run{r: &Runner{HasGPUs: func() bool { return c.has }}}
		x.GPUs, x.Spec.GPUsByUUID = c.gpus, c.byUUID
		require.Equal(t, c.want, x.visible())
	}
}

// TestDistributedJobsDoNotClash: each has a port of its own, also where somebody else listens on the first that is
// tried.
func TestDistributedJobsDoNotClash(t *testing.T) {
	r := &Runner{}
	of := func(n int64, env ...string) []string {
		x := &run{r: r}
		x.ID, x.GPUs = queue.ID{Number: n}, []queue.GPU{{}}
		return x.rendezvous(env)
	}
	a := of(12, "A=b")
	port := environ.Lookup(a, "MASTER_PORT")
	require.Equal(t, []string{"127.0.0.1", port},
		[]string{environ.Lookup(a, "MASTER_ADDR"), environ.Lookup(a, "PET_MASTER_PORT")})
	require.NotEqual(t, port, environ.Lookup(of(12), "MASTER_PORT"), "nobody listens on it yet")
	l, err := net.Listen("tcp4", "127.0.0.1:"+port)
	require.NoError(t, err)
	defer l.Close()
	r.ports = nil
	require.NotEqual(t, port, environ.Lookup(of(12), "MASTER_PORT"))
	require.Equal(t, []string{"MASTER_PORT=1"}, of(1, "MASTER_PORT=1"), "what is set stays")
	require.Empty(t, (&run{r: r}).rendezvous(nil), "it has no GPU")
}
