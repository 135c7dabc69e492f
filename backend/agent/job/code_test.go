package job

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

// seeing is what a test's jobs have as their code.
type seeing struct {
	mu    sync.Mutex
	code  *queue.Code
	looks atomic.Int32
	wait  chan struct{} // nil: a look takes no time
}

func (s *seeing) set(commit, mark string) {
	dirty := mark != ""
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code = &queue.Code{Commit: commit, Dirty: &dirty, Mark: mark}
}

func (s *seeing) look(ctx context.Context, _ string) *queue.Code {
	s.looks.Add(1)
	if s.wait != nil {
		select {
		case <-s.wait:
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.code
}

func watching(t *testing.T, l *loop, s *seeing) *codes {
	c := &codes{l: l, looks: map[string]*looking{}, look: s.look}
	c.ctx, c.end = context.WithCancel(context.Background())
	t.Cleanup(c.stop)
	return c
}

// A job has the code of its submit, also one that is done by then, and says so where it changed before its start.
func TestTheCodeOfAJob(t *testing.T) {
	dir := t.TempDir()
	l, r, stop := opened(t, dir)
	s := &seeing{}
	c := watching(t, l, s)
	has := func(id queue.ID, commit string) {
		t.Helper()
		eventually(t, "its code is noted", func() bool {
			j, err := l.job(t.Context(), id)
			return err == nil && j.Code != nil && j.Code.Commit == commit
		})
	}
	held := spec("true")
	held.Hold = true
	id := submitted(t, l, held)
	s.set("aa", "")
	c.submitted(id, "/w")
	has(id, "aa")
	array := held
	array.Array = &queue.Array{Ranges: []queue.Range{{First: 0, Last: 0, Step: 1}}}
	of := submitted(t, l, array)
	c.submitted(of, "/w")
	has(of, "aa")

	done := submitted(t, l, spec("true"))
	r.ends(t, l, done, 1, 0)
	eventually(t, "it is done", func() bool { j, err := l.job(t.Context(), done); return err == nil && j.State.Done() })
	c.submitted(done, "/w")
	has(done, "aa")
	stop()

	l, r, _ = opened(t, dir) // it stands in the journal
	c = watching(t, l, s)
	has(id, "aa")
	s.set("aa", "changed")
	for _, x := range []queue.ID{id, of} {
		require.NoError(t, l.tell(t.Context(), x, "release", "", "me"))
	}
	for _, x := range []queue.ID{id, of.At(0)} {
		eventually(t, "it starts", r.has(&r.started, x))
		c.beginning(t.Context(), queue.Run{ID: x, Attempt: 1, Spec: held})
		eventually(t, "that it changed is noted", func() bool {
			v, err := l.one(t.Context(), x)
			return err == nil && v.Code != nil && v.Code.AtStart != nil && *v.Code.AtStart.Dirty && !*v.Code.Dirty
		})
	}
	r.ends(t, l, id, 1, 1)
	eventually(t, "it is done", func() bool { j, err := l.job(t.Context(), id); return err == nil && j.State.Done() })
	s.set("aa", "")
	time.Sleep(10 * time.Millisecond) // the last look is too old then
	require.NoError(t, l.tell(t.Context(), id, "retry", "", "me"))
	eventually(t, "it starts again", func() bool { j, err := l.job(t.Context(), id); return err == nil && j.Attempt == 2 })
	c.beginning(t.Context(), queue.Run{ID: id, Attempt: 2, Spec: held})
	v, err := l.one(t.Context(), id)
	require.NoError(t, err)
	require.Nil(t, v.Code.AtStart, "it is as it was at the submit")
}

// A look that takes long holds a start up for a moment only, serves all who ask meanwhile, and ends with the agent.
func TestALookThatTakesLong(t *testing.T) {
	l, _, _ := opened(t, t.TempDir())
	s := &seeing{wait: make(chan struct{})}
	s.set("aa", "")
	c := watching(t, l, s)
	id := submitted(t, l, spec("true"))
	begun := time.Now()
	for range 100 {
		c.submitted(id, "/w")
	}
	require.Less(t, time.Since(begun), startWait)
	c.beginning(t.Context(), queue.Run{ID: id, Attempt: 1, Spec: queue.Spec{Workdir: "/w"}})
	require.GreaterOrEqual(t, time.Since(begun), startWait)
	require.EqualValues(t, 1, s.looks.Load())
	c.stop()
	c.submitted(id, "/w")
	j, err := l.job(t.Context(), id)
	require.NoError(t, err)
	require.Nil(t, j.Code)
}
