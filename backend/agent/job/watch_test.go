package job

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/queue"
)

// Who watches is told each change once, also over a break; who is too far behind reads anew.
func TestChanges(t *testing.T) {
	l, r, _ := opened(t, t.TempDir())
	first, err := l.changes(t.Context(), "", 0)
	require.NoError(t, err)
	require.True(t, first.Anew)
	require.Empty(t, first.Jobs)

	type told struct {
		x   api.JobChanges
		err error
	}
	got := make(chan told, 1)
	go func() {
		x, err := l.changes(t.Context(), first.Epoch, first.Seq)
		got <- told{x, err}
	}()
	select {
	case <-got:
		t.Fatal("a quiet queue says nothing")
	case <-time.After(50 * time.Millisecond):
	}
	id := submitted(t, l, spec("true"))
	x := <-got
	require.NoError(t, x.err)
	require.False(t, x.x.Anew)
	require.Equal(t, id.String(), *x.x.Jobs[0].ID)
	require.Greater(t, x.x.Seq, first.Seq)

	eventually(t, "it starts", r.has(&r.started, id))
	l.emit(queue.Event{ID: id, Attempt: 1, Ended: &queue.Ended{At: time.Now()}})
	at := x.x.Seq
	eventually(t, "its end is told", func() bool {
		y, err := l.changes(t.Context(), first.Epoch, at)
		require.NoError(t, err)
		require.Greater(t, y.Seq, at)
		at = y.Seq
		return len(y.Jobs) == 1 && y.Jobs[0].State == api.JobSucceeded
	})

	s := spec("true")
	s.Hold = true
	for range maxChanges + 1 {
		submitted(t, l, s)
	}
	far, err := l.changes(t.Context(), first.Epoch, at)
	require.NoError(t, err)
	require.True(t, far.Anew)
	require.Equal(t, at+maxChanges+1, far.Seq)
	for _, wrong := range []struct {
		epoch string
		after int64
	}{{"other", at}, {first.Epoch, far.Seq + 1}} {
		y, err := l.changes(t.Context(), wrong.epoch, wrong.after)
		require.NoError(t, err)
		require.True(t, y.Anew)
	}
}
