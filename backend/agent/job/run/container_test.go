//go:build containers

package run

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/engine/enginetest"
	"berth/backend/agent/process"
	"berth/gpu/procs/proc"
	"berth/queue"
)

// pods is an instance with a real Podman.
type pods struct {
	*world
	*enginetest.Podman
}

func newPods(t testing.TB) *pods {
	p := &pods{Podman: enginetest.Start(t)}
	p.world = newWorld(t) // it ends before Podman does
	exe, err := os.Executable()
	require.NoError(t, err)
	p.exe = exe
	p.next()
	return p
}

// next is an agent that comes after the one so far.
func (p *pods) next() {
	p.world.next()
	p.Runner.Engine = func() string { return p.Socket }
}

// in is a run of a shell's script in a container.
func (p *pods) in(n int64, script string) queue.Run {
	q := p.job(n, "sh", "-c", script)
	q.Spec.Image = enginetest.Image
	return q
}

// record is the newest one of a run.
func (p *pods) record(q queue.Run) process.Record {
	p.world.t.Helper()
	x := &run{Run: q}
	var rec process.Record
	agenttest.Eventually(p.world.t, "its program runs", func() bool {
		var err error
		rec, err = process.ReadRecord(x.againDir(x.lastAgain()), process.RecordName)
		return err == nil && rec.Child.Alive()
	})
	return rec
}

// small has the small program speak to the engine, as on an instance of a release.
func (p *pods) small() {
	p.world.t.Helper()
	path := filepath.Join(p.world.t.TempDir(), "berth-engine")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "berth/cmd/berth-engine")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(p.world.t, err, string(out))
	p.exe = "/berth-agent"
	p.next()
	require.NoError(p.world.t, p.host(os.Stderr).KeepEngine(path))
}

// removed waits until no container is left.
func (p *pods) removed() {
	p.world.t.Helper()
	agenttest.Eventually(p.world.t, "all containers are removed", func() bool { return len(p.Names()) == 0 })
}

func kill(t *testing.T, who proc.Identity) {
	t.Helper()
	_ = who.Signal(syscall.SIGKILL)
	agenttest.Eventually(t, "it is gone", func() bool { return !who.Alive() })
}

// TestAContainer is one that nothing happens to.
func TestAContainer(t *testing.T) {
	p := newPods(t)
	q := p.in(1, `id -u; pwd; echo $A "$S" $BERTH_JOB_ID $BERTH_JOB_UUID "${FROM_LOGIN-none}" "${CUDA_VISIBLE_DEVICES-none}"
echo x > made; df -k /dev/shm | tail -1 | awk '{print $2}'; printf 'no\0end\377' ; exit 7`)
	q.Spec.Env, q.Spec.Secrets, q.Spec.Memory, q.Spec.CPUs = []string{"A=b c"}, []string{"S"}, 64<<20, 1
	require.NoError(t, p.Runner.secrets.Keep(q.Spec.UUID, map[string]string{"S": "se'cret"}))
	p.Start(p.ctx, q)
	end := p.ended(q)
	require.Equal(t, queue.Ended{At: end.At, Exit: 7, PeakMemory: end.PeakMemory, CPU: end.CPU}, *end, log(q))
	require.Equal(t, fmt.Sprintf("0\n%s\nb c se'cret 1 uuid-1 none none\n32768\nno\x00end\xff", p.Options.Workdir), log(q))
	fi, err := os.Stat(filepath.Join(p.Options.Workdir, "made"))
	require.NoError(t, err)
	require.EqualValues(t, os.Getuid(), fi.Sys().(*syscall.Stat_t).Uid)
	p.removed()
	require.Equal(t, 7, PastOf(q.Dir).Exit)

	p.next() // an agent that comes later
	p.Adopt(p.ctx, q)
	require.Equal(t, 7, p.ended(q).Exit)
}

// TestAContainerThatCantBe: what is wrong is said, in the engine's words.
func TestAContainerThatCantBe(t *testing.T) {
	p := newPods(t)
	q := p.in(1, "true")
	q.Spec.Argv = []string{"no-such-program"}
	p.Start(p.ctx, q)
	end := p.ended(q)
	require.Contains(t, end.Failed, "no-such-program")
	require.Equal(t, 127, end.Exit)

	q = p.in(2, "true")
	q.Spec.Image = p.Registry + "/none:1"
	p.Start(p.ctx, q)
	end = p.ended(q)
	require.Contains(t, end.Failed, "pulling "+p.Registry+"/none:1: ")
	require.Contains(t, end.Failed, "manifest unknown")
	require.Equal(t, 125, end.Exit)
	require.NotContains(t, log(q), "trying again")
	p.removed()

	spec := queue.Spec{Image: "Not A Name"}
	h := p.host(os.Stderr)
	require.ErrorContains(t, CheckImage(p.ctx, h, &spec, p.Socket, nil), "no name of an image")
	spec.Image = enginetest.Image
	require.NoError(t, CheckImage(p.ctx, h, &spec, p.Socket, nil))
	require.ErrorContains(t, CheckImage(p.ctx, h, &spec, p.Socket+"x", nil), "there is no socket "+p.Socket+"x")
	spec.Request.GPUs = 1
	require.ErrorContains(t, CheckImage(p.ctx, h, &spec, p.Socket, []string{"GPU-1"}), "names GPU-1")
	p.Kill()
	spec.Request.GPUs = 0
	require.ErrorContains(t, CheckImage(p.ctx, h, &spec, p.Socket, nil), "can't be reached")
}

// TestAContainerWithoutMemory: its end has the cause.
func TestAContainerWithoutMemory(t *testing.T) {
	p := newPods(t)
	q := p.in(1, "tail -c 100m /dev/zero; echo it was $?; sleep 2; exit 3")
	q.Spec.Memory = 32 << 20
	p.Start(p.ctx, q)
	end := p.ended(q)
	require.Equal(t, 3, end.Exit, log(q))
	require.Contains(t, end.OOM, "it used all of its 32 MiB of memory")
	require.Greater(t, end.PeakMemory, int64(30<<20))
	require.Positive(t, end.CPU)
}

// TestAContainerIsTold: signals reach its main process; what ignores them is killed; it can be paused.
func TestAContainerIsTold(t *testing.T) {
	p := newPods(t)
	q := p.in(1, `trap 'echo saved' USR1; trap 'echo told; exit 5' TERM; echo ready; while :; do sleep 0.01; done`)
	p.Start(p.ctx, q)
	p.says(q, "ready")
	p.Signal(p.ctx, q, queue.Signal{Name: "USR1", Scope: queue.Leader})
	p.says(q, "saved")
	p.Signal(p.ctx, q, queue.Signal{Name: "TERM", Scope: queue.Leader})
	require.Equal(t, 5, p.ended(q).Exit)

	q = p.in(2, `trap '' TERM; (trap '' TERM; while :; do sleep 0.01; done) & echo ready; while :; do date +%s%N >tick; sleep 0.01; done`)
	p.Start(p.ctx, q)
	p.says(q, "ready")
	p.Signal(p.ctx, q, queue.Signal{Name: "TERM", Scope: queue.Leader})
	p.Signal(p.ctx, q, queue.Signal{Name: "STOP", Scope: queue.All})
	agenttest.Eventually(t, "it is paused", func() bool { return p.Podman.Run("ps", "-q", "--filter", "status=paused") != "" })
	p.Signal(p.ctx, q, queue.Signal{Name: "CONT", Scope: queue.All})
	agenttest.Eventually(t, "it goes on", func() bool { return p.Podman.Run("ps", "-q", "--filter", "status=running") != "" })
	p.Signal(p.ctx, q, queue.Signal{Name: "STOP", Scope: queue.All})
	p.Signal(p.ctx, q, queue.Signal{Name: "KILL", Scope: queue.All})
	require.Equal(t, 137, p.ended(q).Exit)
	p.removed()
}

// TestAContainerIsEndedBeforeItStarts: the program that pulls its image is told to end.
func TestAContainerIsEndedBeforeItStarts(t *testing.T) {
	p := newPods(t)
	q := p.in(1, "true")
	q.Spec.Image = "127.0.0.1:1/none:1"
	p.Start(p.ctx, q)
	p.says(q, "pulling")
	p.Signal(p.ctx, q, queue.Signal{Name: "TERM", Scope: queue.Leader})
	end := p.ended(q)
	require.Equal(t, "TERM", end.Signal)
	require.Empty(t, end.Failed)
}

// TestAContainerUnderKills kills all that looks after a container, and the engine's service, at any time: it is run
// once, and each byte that it prints is in the log once.
func TestAContainerUnderKills(t *testing.T) {
	p := newPods(t)
	const lines = 100
	script := fmt.Sprintf(`echo begun >> begun; i=0; while [ $i -lt %d ]; do echo line $i; i=$((i+1)); sleep 0.02; done; exit 9`, lines)
	var want strings.Builder
	for i := range lines {
		want.WriteString("line " + strconv.Itoa(i) + "\n")
	}
	faults := map[string]func(q queue.Run){
		"program": func(q queue.Run) { kill(t, p.record(q).Child) },
		"shim":    func(q queue.Run) { kill(t, p.record(q).Shim) },
		"both": func(q queue.Run) {
			rec := p.record(q)
			_ = rec.Shim.Signal(syscall.SIGKILL)
			kill(t, rec.Child)
		},
		"agent": func(q queue.Run) { p.next(); p.Adopt(p.ctx, q) },
		"agent and both": func(q queue.Run) {
			rec := p.record(q)
			p.stop()
			_ = rec.Shim.Signal(syscall.SIGKILL)
			kill(t, rec.Child)
			p.next()
			p.Adopt(p.ctx, q)
		},
		"engine": func(queue.Run) { p.Podman.Kill(); time.Sleep(200 * time.Millisecond); p.Serve() },
		"engine and program": func(q queue.Run) {
			p.Podman.Kill()
			kill(t, p.record(q).Child)
			time.Sleep(200 * time.Millisecond)
			p.Serve()
		},
	}
	n := int64(0)
	for _, together := range [][]string{{"program", "shim", "both"}, {"agent"}, {"agent and both"},
		{"engine", "engine and program"}} {
		runs := map[string]queue.Run{}
		for _, name := range together {
			n++
			q := p.in(n, script)
			q.Spec.Workdir = filepath.Join(p.Options.Workdir, strconv.FormatInt(n, 10))
			require.NoError(t, os.Mkdir(q.Spec.Workdir, 0o700))
			runs[name] = q
			p.Start(p.ctx, q)
		}
		for name, q := range runs {
			p.says(q, "line 5")
			faults[name](q)
		}
		for name, q := range runs {
			end := p.ended(q)
			require.Equal(t, 9, end.Exit, "%s: %+v %s", name, end, log(q))
			require.Empty(t, end.Lost+end.Failed+end.OOM, name)
			require.Equal(t, want.String(), log(q), name)
			b, err := os.ReadFile(filepath.Join(q.Spec.Workdir, "begun"))
			require.NoError(t, err)
			require.Equal(t, "begun\n", string(b), "%s: it was started once", name)
		}
	}
	p.removed()
}

// TestContainersAreKilledAtAnyMoment kills the programs of many short containers at random moments of their lives.
func TestContainersAreKilledAtAnyMoment(t *testing.T) {
	p := newPods(t)
	rounds := 5
	if n, err := strconv.Atoi(os.Getenv("BERTH_CHAOS")); err == nil {
		rounds = n
	}
	for i := range rounds {
		n := int64(i + 1)
		q := p.in(n, fmt.Sprintf("echo begun >> begun%d; echo out; exit 4", n))
		p.Start(p.ctx, q)
		for range 2 {
			time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
			rec, err := process.ReadRecord((&run{Run: q}).againDir((&run{Run: q}).lastAgain()), process.RecordName)
			if err == nil && rec.Child.PID != 0 {
				_ = rec.Child.Signal(syscall.SIGKILL)
			}
		}
		end := p.ended(q)
		b, err := os.ReadFile(filepath.Join(p.Options.Workdir, fmt.Sprint("begun", n)))
		if end.Lost != "" { // killed just when it was told to start: nobody knows
			require.LessOrEqual(t, strings.Count(string(b), "begun"), 1)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, 4, end.Exit, "%+v %s", end, log(q))
		require.Equal(t, "begun\n", string(b), "it was started once")
		require.Equal(t, "out\n", log(q))
	}
	p.removed()
}

// TestAContainerThatIsRemoved by somebody is lost.
func TestAContainerThatIsRemoved(t *testing.T) {
	p := newPods(t)
	q := p.in(1, "echo ready; sleep 1000")
	p.Start(p.ctx, q)
	p.says(q, "ready")
	rec := p.record(q)
	p.Podman.Run("rm", "-f", "-t", "0", containerName(rec.Mark))
	end := p.ended(q)
	if end.Lost == "" { // it was seen to end before it was removed
		require.Equal(t, 137, end.Exit)
		return
	}
	require.Contains(t, end.Lost, "was removed")
}

// TestTwoContainersShareAFolder run beside each other.
func TestTwoContainersShareAFolder(t *testing.T) {
	p := newPods(t)
	share := t.TempDir()
	p.Options.Share = share
	p.next()
	a := p.in(1, `echo a > "$BERTH_SHARE/a"; while ! [ -e "$BERTH_SHARE/b" ]; do sleep 0.01; done; cat "$BERTH_SHARE/b"`)
	b := p.in(2, `while ! [ -e "$BERTH_SHARE/a" ]; do sleep 0.01; done; cat "$BERTH_SHARE/a"; echo b > "$BERTH_SHARE/b"`)
	p.Start(p.ctx, a)
	p.Start(p.ctx, b)
	require.Zero(t, p.ended(a).Exit, log(a))
	require.Zero(t, p.ended(b).Exit, log(b))
	require.Equal(t, "ba", strings.ReplaceAll(log(a)+log(b), "\n", ""))
}

// BenchmarkContainer runs a job in a container to its end, and the same by Podman's own command, in turns. Both remove
// their containers afterwards.
func BenchmarkContainer(b *testing.B) {
	p := newPods(b)
	p.small()
	var own, podman []time.Duration
	for i := range b.N {
		n := int64(i + 1)
		q := p.in(n, "true")
		began := time.Now()
		p.Start(p.ctx, q)
		require.Zero(b, p.ended(q).Exit)
		own = append(own, time.Since(began))
		p.removed() // what comes after its end is not in the other's way
		began = time.Now()
		out, err := p.Command("run", "-v", p.Options.Workdir+":"+p.Options.Workdir, "-w", p.Options.Workdir,
			enginetest.Image, "sh", "-c", "true").CombinedOutput()
		require.NoError(b, err, string(out))
		podman = append(podman, time.Since(began))
		p.Podman.Run("rm", "--all")
	}
	b.ReportMetric(median(own).Seconds(), "job-s")
	b.ReportMetric(median(podman).Seconds(), "podman-s")
	ratios := make([]float64, len(own))
	for i := range own {
		ratios[i] = own[i].Seconds() / podman[i].Seconds()
	}
	b.ReportMetric(middle(ratios), "job/podman")
}

func median(d []time.Duration) time.Duration { return middle(d) }

func middle[T int64 | float64 | time.Duration](v []T) T {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
