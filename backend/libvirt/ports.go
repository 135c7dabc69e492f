package libvirt

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// The forwarded ports lie below those that kernels give out by themselves.
const (
	firstPort = 20000
	portCount = 12000
)

// portCache holds ports that were promised to machines whose domains are not defined yet, and those that
// qemu found taken by others.
type portCache struct {
	mu    sync.Mutex
	taken map[int]promise
}

type promise struct {
	token string
	till  time.Time
}

// promiseFor is long enough for any create to define its domain.
const promiseFor = 10 * time.Minute

// choose returns a port for a machine: the same for the same token, unless it is used by another.
func (c *portCache) choose(token string, used map[int]bool, now time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken == nil {
		c.taken = map[int]promise{}
	}
	for p, t := range c.taken {
		if now.After(t.till) {
			delete(c.taken, p)
		}
	}
	sum := sha256.Sum256([]byte("port\n" + token))
	start := int(binary.BigEndian.Uint32(sum[:4]) % portCount)
	for i := range portCount {
		p := firstPort + (start+i)%portCount
		if t, ok := c.taken[p]; used[p] || ok && t.token != token {
			continue
		}
		c.taken[p] = promise{token, now.Add(promiseFor)}
		return p
	}
	return 0
}

// refuse notes that something else on the host has the port.
func (c *portCache) refuse(port int, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken == nil {
		c.taken = map[int]promise{}
	}
	c.taken[port] = promise{"", now.Add(promiseFor)}
}
