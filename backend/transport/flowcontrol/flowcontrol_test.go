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
