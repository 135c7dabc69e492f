package uitest

import (
	"sync"

	"berth/backend/base/coalesce"
)

// waiting counts the dashboard's commands that follow a stream which has nothing new, or ask one who hangs.
type waiting struct {
	mu   sync.Mutex
	n    int
	more coalesce.Signal // one more waits
}

func newWaiting() *waiting { return &waiting{more: coalesce.NewSignal()} }

func (w *waiting) add(n int) {
	w.mu.Lock()
	w.n += n
	w.mu.Unlock()
	if n > 0 {
		w.more.Send()
	}
}

func (w *waiting) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}
