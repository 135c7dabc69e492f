package flowcontrol

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/transport/wire"
)

// sink is a writer that can be made to fail.
type sink struct {
	mu sync.Mutex
	bytes.Buffer
	err    error
	closed bool
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	return s.Buffer.Write(p)
}

func (s *sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func TestQueueWritesInOrderThenCloses(t *testing.T) {
	var w sink
	q := New(&w)
	granted := make(chan int, 100)
	src := q.Source(func(n int) { granted <- n })
	buf := []byte("one ")
	require.True(t, src.Put(buf))
	copy(buf, "XXXX") // the queue has its own copy
	require.True(t, src.Put([]byte("two")))
	q.EOF()
	require.Equal(t, 7, <-granted+<-granted)
	q.Close()
	require.Equal(t, "one two", w.String())
	require.True(t, w.closed)
	require.True(t, src.Put([]byte("late")), "dropped")
}

func TestQueueHoldsNoMoreThanTheWindow(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	q := New(w)
	src := q.Source(func(int) {})
	require.True(t, src.Put(make([]byte, wire.InitialWindow)))
	require.False(t, src.Put([]byte("x")), "nothing was granted yet")
	q.Close() // ends a write that nobody reads
}

func TestQueueGrantsOnWhereNobodyReads(t *testing.T) {
	w := sink{err: errors.New("closed")}
	q := New(&w)
	granted := make(chan int, 100)
	src := q.Source(func(n int) { granted <- n })
	for range 5 {
		require.True(t, src.Put(make([]byte, wire.InitialWindow)))
		require.Equal(t, wire.InitialWindow, <-granted)
	}
	q.Close()
}

// TestWidened: a client that may send more is told so, and is granted again what was written, in few pieces and whole.
func TestWidened(t *testing.T) {
	var w sink
	q := New(&w)
	granted := make(chan int, 1000)
	src := q.Source(func(n int) { granted <- n })
	src.Widen(wire.CommandWindow)
	require.Equal(t, wire.CommandWindow, <-granted)
	const window = wire.InitialWindow + wire.CommandWindow
	piece := make([]byte, 1000)
	may, sent, grants := window, 0, 0
	for sent < 10*window {
		for may < len(piece) { // a client that waits is granted more
			may += <-granted
			grants++
		}
		for i := range piece {
			piece[i] = byte((sent + i) % 251)
		}
		require.True(t, src.Put(piece))
		sent, may = sent+len(piece), may-len(piece)
	}
	q.EOF()
	<-q.done
	require.Less(t, grants, 100)
	require.Equal(t, sent, w.Len())
	for i, b := range w.Bytes() {
		if b != byte(i%251) {
			t.Fatalf("byte %d is another one", i)
		}
	}
	q.Close()
}

// TestGive: what is given is written without a copy, and the memory of what was written comes back.
func TestGive(t *testing.T) {
	var w sink
	q := New(&w)
	granted := make(chan int, 100)
	src := q.Source(func(n int) { granted <- n })
	first := []byte("first ")
	_, ok := src.Give(first)
	require.True(t, ok)
	require.Equal(t, 6, <-granted)
	spare, ok := src.Give([]byte("second"))
	require.True(t, ok)
	require.Same(t, &first[0], &spare[:1][0])
	<-granted
	_, ok = src.Give(make([]byte, wire.InitialWindow+1))
	require.False(t, ok, "more than the window")
	q.Close()
	require.Equal(t, "first second", w.String())
	late, ok := src.Give([]byte("late"))
	require.True(t, ok)
	require.Equal(t, "late", string(late), "dropped: it is its caller's still")
}
