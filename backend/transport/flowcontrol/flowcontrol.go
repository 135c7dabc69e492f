// Package flowcontrol queues what clients send for a process's standard input, so that the reader of a
// client's stream never waits for a process that does not read. See package wire for the window that
// bounds the queue.
package flowcontrol

import (
	"io"
	"sync"

	"berth/backend/transport/wire"
)

// Queue writes the input of one or several sources, in the order in which it came, to one writer.
type Queue struct {
	w      io.WriteCloser
	mu     sync.Mutex
	cond   *sync.Cond
	chunks []chunk
	spare  []byte // of a chunk that was written
	eof    bool
	closed bool
	done   chan struct{}
}

type chunk struct {
	p   []byte
	src *Source
}

// Source is one client's way into a Queue.
type Source struct {
	q     *Queue
	limit int // how many bytes it may be owed
	every int // so many are granted again together, or more
	owed  int // bytes taken and not yet granted again
	spent int // of them, those that were written
	grant func(n int)
}

// New starts a queue that writes to w. Close ends it.
func New(w io.WriteCloser) *Queue {
	q := &Queue{w: w, done: make(chan struct{})}
	q.cond = sync.NewCond(&q.mu)
	go q.run()
	return q
}

// Source returns a new source; grant is called, from the queue's goroutine, with the number of bytes
// that the client may send again.
func (q *Queue) Source(grant func(n int)) *Source {
	return &Source{q: q, limit: wire.InitialWindow, grant: grant}
}

// SourceOf is Source for a client whose first window has n bytes; what is granted again is granted in few pieces.
func (q *Queue) SourceOf(n int, grant func(n int)) *Source {
	return &Source{q: q, limit: n, every: n / 8, grant: grant}
}

// Done is closed when all that came before EOF is written and the writer is closed, or the queue was ended.
func (q *Queue) Done() <-chan struct{} { return q.done }

// Widen lets the client send n bytes more than the first window before it must wait, and tells it so. What is granted
// again is granted in few large pieces from then on.
func (s *Source) Widen(n int) {
	s.q.mu.Lock()
	s.limit += n
	s.every = s.limit / 8
	s.q.mu.Unlock()
	s.grant(n)
}

// Put queues a copy of p. It returns false if the client sent more than its window allows.
func (s *Source) Put(p []byte) bool {
	q := s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if ok, drop := s.owe(len(p)); !ok || drop {
		return ok
	}
	q.chunks = append(q.chunks, chunk{append([]byte(nil), p...), s})
	q.cond.Signal()
	return true
}

// Give is Put without a copy: p is the queue's from then on. It returns other memory for it, if there is some.
func (s *Source) Give(p []byte) (spare []byte, ok bool) {
	q := s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	ok, drop := s.owe(len(p))
	if !ok || drop {
		return p, ok
	}
	q.chunks = append(q.chunks, chunk{p, s})
	q.cond.Signal()
	spare, q.spare = q.spare, nil
	return spare, true
}

// owe notes n bytes that came; drop says that nobody wants them. The lock is held.
func (s *Source) owe(n int) (ok, drop bool) {
	if s.owed+n > s.limit {
		return false, false
	}
	if s.q.closed || s.q.eof || n == 0 {
		return true, true
	}
	s.owed += n
	return true, false
}

// EOF closes the writer once all that was queued is written.
func (q *Queue) EOF() {
	q.mu.Lock()
	q.eof = true
	q.mu.Unlock()
	q.cond.Signal()
}

// Close drops what is queued, closes the writer, which ends a write under way, and waits for the
// queue's goroutine.
func (q *Queue) Close() {
	q.drop()
	_ = q.w.Close()
	<-q.done
}

// End is Close for a writer that must not be closed while it is written to (a channel of SSH): its owner
// has ended a write under way, and the queue's goroutine closes it.
func (q *Queue) End() {
	q.drop()
	<-q.done
}

func (q *Queue) drop() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.cond.Signal()
}

func (q *Queue) run() {
	defer close(q.done)
	broken := false
	for {
		q.mu.Lock()
		for len(q.chunks) == 0 && !q.eof && !q.closed {
			q.cond.Wait()
		}
		if q.closed || len(q.chunks) == 0 {
			q.mu.Unlock()
			_ = q.w.Close()
			return
		}
		c := q.chunks[0]
		q.chunks[0] = chunk{}
		q.chunks = q.chunks[1:]
		q.mu.Unlock()
		if !broken {
			// A process that closed its input has what it wants: the rest is dropped, as a shell's pipe would.
			_, err := q.w.Write(c.p)
			broken = err != nil
		}
		q.mu.Lock()
		if cap(c.p) > cap(q.spare) {
			q.spare = c.p
		}
		s, granted := c.src, 0
		if s.spent += len(c.p); s.spent >= s.every {
			granted = s.spent
			s.owed -= granted
			s.spent = 0
		}
		q.mu.Unlock()
		if granted > 0 {
			s.grant(granted)
		}
	}
}
