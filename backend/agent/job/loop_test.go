package job

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/queue"
	"berth/queue/journal"
	"berth/queue/plan"
)

// recorder is a runner that runs nothing: a test says what becomes of the runs.
type recorder struct {
	mu      sync.Mutex
	started []string
	adopted []string
}

func (r *recorder) Start(_ context.Context, q queue.Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = append(r.started, q.ID.String())
}

func (r *recorder) Adopt(_ context.Context, q queue.Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.adopted = append(r.adopted, q.ID.String())
}

func (r *recorder) Signal(context.Context, queue.Run, queue.Signal) {}

func (r *recorder) has(list *[]string, id queue.ID) func() bool {
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, x := range *list {
			if x == id.String() {
				return true
			}
		}
		return false
	}
}

// opened is a loop that works, on the journal in a folder.
func opened(t *testing.T, dir string) (*loop, *recorder, func()) {
	j, err := journal.Open(t.Context(), dir)
	require.NoError(t, err)
	runs := filepath.Join(dir, "runs")
	require.NoError(t, os.MkdirAll(runs, 0o700))
	require.NoError(t, goAbove(t.Context(), j, runs))
	l := newLoop(j, plan.Limits{Slots: 2}, runs, slog.New(slog.DiscardHandler))
	r := &recorder{}
	l.runner = r
	ctx, cancel := context.WithCancel(t.Context())
	require.NoError(t, l.load(ctx))
	done := make(chan struct{})
	go func() { defer close(done); l.keepOn(ctx, contained) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			<-done
			_ = j.Close()
		})
	}
	t.Cleanup(stop)
	return l, r, stop
}

// contained ends a panic, as the agent does.
func contained(f func()) {
	defer func() { _ = recover() }()
	f()
}

func spec(argv ...string) queue.Spec {
	return queue.Spec{Argv: argv, Workdir: "/", Request: queue.Request{}}
}

func submitted(t *testing.T, l *loop, s queue.Spec) queue.ID {
	t.Helper()
	id, err := l.submit(t.Context(), s)
	require.NoError(t, err)
	return id
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain: " + what)
		}
	}
}

// A submit that is said again, also to a later agent, is the first one's job.
func TestASubmitSaidAgainIsTheSameJob(t *testing.T) {
	dir := t.TempDir()
	l, _, stop := opened(t, dir)
	s := spec("true")
	s.UUID = "u-1"
	id := submitted(t, l, s)
	require.Equal(t, id, submitted(t, l, s))
	stop()
	_, err := l.submit(t.Context(), s)
	require.Equal(t, api.CodeMoved, api.AsError(err).Code)
	l, r, _ := opened(t, dir)
	require.Equal(t, id, submitted(t, l, s))
	eventually(t, "the run is taken up", func() bool { return r.has(&r.started, id)() || r.has(&r.adopted, id)() })
	require.Greater(t, submitted(t, l, spec("true")).Number, id.Number)
}

// What runs is adopted by the next agent, and what waits starts when there is room.
func TestTheNextAgentGoesOn(t *testing.T) {
	dir := t.TempDir()
	l, r, stop := opened(t, dir)
	a, b, c := submitted(t, l, spec("a")), submitted(t, l, spec("b")), submitted(t, l, spec("c"))
	for _, id := range []queue.ID{a, b} {
		eventually(t, "it starts", r.has(&r.started, id))
		l.emit(queue.Event{ID: id, Attempt: 1, Started: &queue.Started{PID: 1, At: time.Now(), Supervised: true}})
		eventually(t, "it runs", func() bool { j, err := l.job(t.Context(), id); return err == nil && j.State == queue.Running })
	}
	require.False(t, r.has(&r.started, c)(), "two slots")
	stop()
	l, r, _ = opened(t, dir)
	eventually(t, "they are adopted", func() bool { return r.has(&r.adopted, a)() && r.has(&r.adopted, b)() })
	l.emit(queue.Event{ID: a, Attempt: 1, Ended: &queue.Ended{At: time.Now(), Exit: 3}})
	eventually(t, "the next one starts", r.has(&r.started, c))
	v, err := l.wait(t.Context(), a, -1)
	require.NoError(t, err)
	require.Equal(t, api.JobFailed, v.State)
	require.Equal(t, 3, *v.ExitCode)
}

// The oldest that are done go, with their folders.
func TestHistoryIsTrimmed(t *testing.T) {
	l, r, _ := opened(t, t.TempDir())
	_, err := l.do(t.Context(), &ask{look: func(*plan.Planner) { l.keep, l.ended = 2, trimAfter-3 }})
	require.NoError(t, err)
	waits := spec("true")
	waits.Hold = true
	held := submitted(t, l, waits)
	var ids []queue.ID
	for range 3 {
		id := submitted(t, l, spec("true"))
		eventually(t, "it starts", r.has(&r.started, id))
		require.NoError(t, os.MkdirAll(l.runDir(id, 1), 0o700))
		l.emit(queue.Event{ID: id, Attempt: 1, Ended: &queue.Ended{At: time.Now()}})
		ids = append(ids, id)
	}
	eventually(t, "the oldest goes", func() bool { _, err := l.job(t.Context(), ids[0]); return err != nil })
	eventually(t, "its folder goes", func() bool { _, err := os.Stat(l.jobDir(ids[0].Number)); return os.IsNotExist(err) })
	for _, id := range []queue.ID{held, ids[1], ids[2]} {
		_, err := l.job(t.Context(), id)
		require.NoError(t, err)
	}
	require.DirExists(t, l.jobDir(ids[2].Number))
}

// Arrays are retried as a whole: those elements that did not succeed.
func TestRetryOfAnArray(t *testing.T) {
	l, r, _ := opened(t, t.TempDir())
	s := spec("true")
	s.Array = &queue.Array{Ranges: []queue.Range{{First: 0, Last: 2, Step: 1}}}
	id := submitted(t, l, s)
	for i := range 3 {
		el := id.At(i)
		eventually(t, "it starts", r.has(&r.started, el))
		l.emit(queue.Event{ID: el, Attempt: 1, Ended: &queue.Ended{At: time.Now(), Exit: i}})
	}
	eventually(t, "it ends", func() bool { j, err := l.job(t.Context(), id); return err == nil && j.State == queue.Failed })
	require.NoError(t, l.tell(t.Context(), id, "retry", "", "me"))
	for i, want := range []int{1, 2, 2} {
		eventually(t, "the runs", func() bool {
			j, err := l.job(t.Context(), id.At(i))
			return err == nil && j.Attempt == want
		})
	}
	require.Error(t, l.tell(t.Context(), id.At(0), "retry", "", "me"), "it succeeded")
}
