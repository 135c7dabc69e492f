package uitest

import "sync"

// waiting counts the dashboard's commands that follow a stream which has nothing new, or ask one who hangs.
type waiting struct {
	mu   sync.Mutex
	n    int
	more chan struct{} // one more waits
}

func newWaiting() *waiting { return &waiting{more: make(chan struct{}, 1)} }

func (w *waiting) add(n int) {
	w.mu.Lock()
	w.n += n
	w.mu.Unlock()
	if n > 0 {
		select {
		case w.more <- struct{}{}:
		default:
		}
	}
}

func (w *waiting) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}
