package wire

import "sync"

// mostCredit is more than any side grants: who has so much has a peer gone mad.
const mostCredit = 1 << 30

// Credit counts the bytes that may still be sent to a peer that grants them by Window frames. All methods may be called
// at once.
type Credit struct {
	mu     sync.Mutex
	cond   *sync.Cond
	n      int
	closed bool
}

// NewCredit begins with n bytes.
func NewCredit(n int) *Credit {
	c := &Credit{n: n}
	c.cond = sync.NewCond(&c.mu)
	return c
}

// Take waits for room and takes up to want bytes of it; 0 means that there will be none any more.
func (c *Credit) Take(want int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.n == 0 && !c.closed {
		c.cond.Wait()
	}
	if c.closed {
		return 0
	}
	k := min(c.n, want)
	c.n -= k
	return k
}

// Grant gives room; false: it is more than a peer ever grants.
func (c *Credit) Grant(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n+n > mostCredit {
		return false
	}
	c.n += n
	c.cond.Signal()
	return true
}

// Close ends the waiting: the connection has ended.
func (c *Credit) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cond.Broadcast()
}
