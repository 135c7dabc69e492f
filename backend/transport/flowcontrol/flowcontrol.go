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
	owed  int // bytes taken and not yet granted again
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
func (q *Queue) Source(grant func(n int)) *Source { return &Source{q: q, grant: grant} }

// Put queues a copy of p. It returns false if the client sent more than its window allows.
func (s *Source) Put(p []byte) bool {
	q := s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if s.owed+len(p) > wire.InitialWindow {
		return false
	}
	if q.closed || q.eof || len(p) == 0 {
		return true
	}
	s.owed += len(p)
	q.chunks = append(q.chunks, chunk{append([]byte(nil), p...), s})
	q.cond.Signal()
	return true
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
		c.src.owed -= len(c.p)
		q.mu.Unlock()
		c.src.grant(len(c.p))
	}
}
