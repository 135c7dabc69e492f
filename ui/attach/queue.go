package attach

import (
	"io"
	"sync"
)

// maxTyped bounds the keys that wait for a stream that takes none, in bytes: more than anybody pastes.
const maxTyped = 8 << 20

// queue holds keys on their way to whichever stream is up.
type queue struct {
	mu     sync.Mutex
	cond   *sync.Cond
	buf    []byte
	max    int
	full   bool // keys are refused until those that wait are taken: a paste must not arrive with a hole
	lost   int  // bytes that were refused since
	closed bool
}

func newQueue(limit int) *queue {
	q := &queue{max: limit}
	q.cond = sync.NewCond(&q.mu)
	return q
}

// put adds keys. It does not wait for room, so that the escapes are always read: beyond the bound keys are lost. full
// is true when that begins, and lost how many bytes it were, once it is over.
func (q *queue) put(b []byte) (full bool, lost int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.full && q.lost > 0 {
		lost, q.lost = q.lost, 0
	}
	if room := q.max - len(q.buf); !q.full && len(b) > room {
		q.buf = append(q.buf, b[:room]...)
		b, q.full, full = b[room:], true, true
	}
	if q.full {
		q.lost += len(b)
	} else {
		q.buf = append(q.buf, b...)
	}
	q.cond.Broadcast()
	return full, lost
}

// left is how many bytes wait.
func (q *queue) left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.buf)
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.cond.Broadcast()
}

// queueReader is one stream's end of the queue.
type queueReader struct {
	q    *queue
	done bool
}

func (q *queue) reader() *queueReader { return &queueReader{q: q} }

// Read waits for keys; after close it returns io.ErrClosedPipe.
func (r *queueReader) Read(p []byte) (int, error) {
	q := r.q
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.buf) == 0 && !q.closed && !r.done {
		q.cond.Wait()
	}
	if r.done || len(q.buf) == 0 {
		return 0, io.ErrClosedPipe
	}
	n := copy(p, q.buf)
	if q.buf = q.buf[n:]; len(q.buf) == 0 {
		q.buf, q.full = nil, false
	}
	return n, nil
}

func (r *queueReader) close() {
	r.q.mu.Lock()
	r.done = true
	r.q.mu.Unlock()
	r.q.cond.Broadcast()
}
