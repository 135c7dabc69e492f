package attach

import (
	"io"
	"sync"
)

// maxTyped bounds the keys that are held while the line is down, in bytes.
const maxTyped = 64 << 10

// queue holds keys on their way to whichever stream is up.
type queue struct {
	mu     sync.Mutex
	cond   *sync.Cond
	buf    []byte
	closed bool
}

func newQueue() *queue {
	q := &queue{}
	q.cond = sync.NewCond(&q.mu)
	return q
}

// put adds keys. While the stream takes none it waits only up to the bound: beyond it, keys are
// dropped, so that the escapes are always read.
func (q *queue) put(b []byte) {
	q.mu.Lock()
	if room := maxTyped - len(q.buf); room > 0 {
		q.buf = append(q.buf, b[:min(len(b), room)]...)
	}
	q.mu.Unlock()
	q.cond.Broadcast()
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
	q.buf = append(q.buf[:0], q.buf[n:]...)
	return n, nil
}

func (r *queueReader) close() {
	r.q.mu.Lock()
	r.done = true
	r.q.mu.Unlock()
	r.q.cond.Broadcast()
}
