package run

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/engine"
	"berth/backend/agent/joblog"
	"berth/backend/agent/part"
	"berth/backend/agent/process"
	"berth/backend/agent/process/processtest"
	"berth/gpu"
	"berth/queue"
)

// TestMain also plays an agent that is killed: it begins the runs on its input and prints what becomes of them; and the
// program that speaks to a container engine.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "agent" && os.Args[2] == "engine" {
		os.Exit(engine.Main(os.Args[3:], os.Stdout, os.Stderr))
	}
	if os.Getenv("BERTH_TEST_AGENT") != "" {
		playAgent()
		return
	}
	if n := os.Getenv("BERTH_TEST_EAT"); n != "" {
		eat(n)
		return
	}
	code := m.Run()
	processtest.Remove()
	os.Exit(code)
}

// eat takes so many MiB of memory, and says so.
func eat(mib string) {
	n, err := strconv.Atoi(mib)
	if err != nil {
		panic(err)
	}
	b := make([]byte, n<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	fmt.Println("ate", len(b)>>20)
}

// agent is what a played agent is told.
type agent struct {
	Options part.Options
	Shim    string
	Env     []string // of the login shell
	Runs    []queue.Run
	Slots   int // how many run at once; 0: all
	exe     string
}

func playAgent() {
	var a agent
	if err := json.NewDecoder(os.Stdin).Decode(&a); err != nil {
		panic(err)
	}
	out := json.NewEncoder(os.Stdout)
	var mu sync.Mutex
	if a.Slots == 0 {
		a.Slots = len(a.Runs)
	}
	slots := make(chan struct{}, a.Slots)
	r := New(a.host(os.Stderr), Secrets{filepath.Join(a.Options.State, "secrets")}, func(e queue.Event) {
		mu.Lock()
		defer mu.Unlock()
		_ = out.Encode(e)
		if e.Ended != nil {
			<-slots
		}
	})
	_ = out.Encode(queue.Event{ID: queue.ID{Number: 1}}) // it begins now
	for _, q := range a.Runs {
		slots <- struct{}{}
		r.Start(context.Background(), q)
	}
	r.Wait()
}

func (a agent) host(log *os.File) *part.Host {
	return &part.Host{Options: a.Options, Exe: a.exe, Base: a.Env, Log: slog.New(slog.NewTextHandler(log, nil)),
		Agent: agentHost{a}}
}

// agentHost is the part of an agent that a runner needs; the rest is not there.
type agentHost struct{ a agent }

func (h agentHost) LoginEnvironment(context.Context) []string { return h.a.Env }
func (h agentHost) ShimCommand(id string) []string            { return []string{h.a.Shim, id} }
func (h agentHost) Contain(_ string, f func())                { f() }
func (h agentHost) GPUs() map[string]gpu.Use                  { panic("not for runs") }
func (h agentHost) Context() context.Context                  { panic("not for runs") }
func (h agentHost) Begin() bool                               { panic("not for runs") }
func (h agentHost) Done()                                     { panic("not for runs") }
func (h agentHost) Active()                                   { panic("not for runs") }
func (h agentHost) Event(_, _, _ string)                      { panic("not for runs") }
func (h agentHost) Grace() time.Duration                      { panic("not for runs") }
func (h agentHost) Processes() []part.Process                 { panic("not for runs") }
func (h agentHost) Watch(context.Context, time.Duration) (<-chan *gpu.Sample, func()) {
	panic("not for runs")
}

// world is an instance on which jobs run.
type world struct {
	t testing.TB
	agent
	*Runner
	ctx  context.Context // of this agent
	stop func()          // leaves the runs alone, as an agent that ends

	mu     sync.Mutex
	events []queue.Event
}

func newWorld(t testing.TB) *world {
	t.Helper()
	shim := processtest.Shim(t)
	o := agenttest.Options(t)
	require.NoError(t, os.MkdirAll(o.State, 0o700))
	w := &world{t: t, agent: agent{Options: o, Shim: shim, Env: []string{"HOME=" + o.Home, "SHELL=/bin/bash",
		"PATH=" + os.Getenv("PATH"), "FROM_LOGIN=a\nb"}}}
	w.next()
	t.Cleanup(func() {
		w.stop()
		all, err := filepath.Glob(filepath.Join(w.jobs(), "*", "*"))
		require.NoError(t, err)
		for _, dir := range all {
			f := process.Look(dir, process.RecordName)
			if f.Exit.Alone || f.Record.Shim.PID == 0 {
				continue
			}
			_, _ = f.Record.Set().End(context.Background(), 0, nil)
			_ = f.Record.Shim.Signal(syscall.SIGKILL)
			_, _ = f.Record.Cgroup.Remove(), f.Record.Limit.Remove()
		}
	})
	return w
}

// next is an agent that comes after the one so far.
func (w *world) next() {
	if w.stop != nil {
		w.stop()
	}
	w.mu.Lock()
	w.events = nil
	w.mu.Unlock()
	w.Runner = New(w.host(os.Stderr), Secrets{filepath.Join(w.Options.State, "secrets")}, func(e queue.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, e)
	})
	ctx, cancel := context.WithCancel(context.Background())
	r := w.Runner
	w.stop = func() {
		cancel()
		r.Wait()
	}
	w.ctx = ctx
}

func (w *world) jobs() string { return filepath.Join(w.Options.State, "jobs") }

// job is a run of a command.
func (w *world) job(n int64, argv ...string) queue.Run {
	return queue.Run{ID: queue.ID{Number: n}, Attempt: 1, Dir: filepath.Join(w.jobs(), fmt.Sprint(n), "1"),
		Spec: queue.Spec{Argv: argv, Workdir: w.Options.Workdir, UUID: fmt.Sprintf("uuid-%d", n)}}
}

// script is a run of a shell's script.
func (w *world) script(n int64, script string) queue.Run { return w.job(n, "/bin/sh", "-c", script) }

// of are the events of a run so far.
func (w *world) of(q queue.Run) (out []queue.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.ID == q.ID && e.Attempt == q.Attempt {
			out = append(out, e)
		}
	}
	return out
}

// await waits for an event of a run.
func (w *world) await(q queue.Run, what string, is func(queue.Event) bool) queue.Event {
	w.t.Helper()
	var found queue.Event
	agenttest.Eventually(w.t, what+" of job "+q.ID.String(), func() bool {
		for _, e := range w.of(q) {
			if is(e) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

func (w *world) started(q queue.Run) *queue.Started {
	w.t.Helper()
	return w.await(q, "the start", func(e queue.Event) bool { return e.Started != nil }).Started
}

func (w *world) ended(q queue.Run) *queue.Ended {
	w.t.Helper()
	return w.await(q, "the end", func(e queue.Event) bool { return e.Ended != nil }).Ended
}

func (w *world) left(q queue.Run, names ...string) {
	w.t.Helper()
	w.await(q, "what is left", func(e queue.Event) bool {
		return e.Left != nil && fmt.Sprint(e.Left.Names) == fmt.Sprint(names)
	})
}

func log(q queue.Run) string {
	b, _ := os.ReadFile(joblog.Path(q.Dir))
	return string(b)
}

// says waits until a run has written something.
func (w *world) says(q queue.Run, what string) {
	w.t.Helper()
	agenttest.Eventually(w.t, what+" in the log: "+log(q), func() bool {
		return strings.Contains(log(q), what)
	})
}
