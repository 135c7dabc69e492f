package forward

import "sync"

// window counts the bytes that may still be sent.
type window struct {
	mu     sync.Mutex
	cond   *sync.Cond
	n      int
	closed bool
}

func newWindow(n int) *window {
	w := &window{n: n}
	w.cond = sync.NewCond(&w.mu)
	return w
}

// take waits for room and takes up to want bytes of it; 0 means that the connection has ended.
func (w *window) take(want int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.n == 0 && !w.closed {
		w.cond.Wait()
	}
	if w.closed {
		return 0
	}
	k := min(w.n, want)
	w.n -= k
	return k
}

// grant gives room; more than any side grants is a side gone mad.
func (w *window) grant(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n+n > 1<<30 {
		return false
	}
	w.n += n
	w.cond.Signal()
	return true
}

func (w *window) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.cond.Broadcast()
}

// Memory bounds what the connections of one process hold for readers that are slow: see wideOnes.
type Memory struct{ wide chan struct{} }

const (
	// wideWindow is how much more a direction may have under way once it has moved a first window: together they are
	// more than an SSH channel has on its way (2 MiB). wideOnes is how many directions may at once: what waits for
	// readers that don't read takes no more memory than that, and wire.ForwardWindow for each of the rest.
	wideWindow = 2 << 20
	wideOnes   = 32
)

// NewMemory returns the bounds of one process's connections.
func NewMemory() *Memory { return &Memory{make(chan struct{}, wideOnes)} }

func (m *Memory) take() bool {
	select {
	case m.wide <- struct{}{}:
		return true
	default:
		return false
	}
}

func (m *Memory) give() { <-m.wide }
