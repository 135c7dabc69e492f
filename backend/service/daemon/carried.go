package daemon

import (
	"sync"

	"berth/backend/base/coalesce"
)

// carried counts the byte streams that a daemon carries, by instance. It is safe for concurrent use.
type carried struct {
	mu     sync.Mutex
	n      map[string]int
	total  int
	closed bool            // no stream may begin
	ended  coalesce.Signal // a stream has ended since closed
}

func newCarried() *carried { return &carried{n: map[string]int{}, ended: coalesce.NewSignal()} }

// begin counts a stream of an instance until end is called; ok is false where none may begin any more.
func (c *carried) begin(id string) (end func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, false
	}
	c.n[id]++
	c.total++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.n[id]--; c.n[id] == 0 {
			delete(c.n, id)
		}
		c.total--
		c.ended.Send()
	}, true
}

// close lets no stream begin any more.
func (c *carried) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// count returns how many streams there are.
func (c *carried) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

// of reports whether there is a stream of an instance.
func (c *carried) of(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[id] > 0
}
