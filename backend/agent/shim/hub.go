package shim

import (
	"slices"
	"sync"
	"time"

	"berth/backend/agent/process"
	"berth/backend/base/ttymodes"
	"berth/backend/transport/wire"
)

const (
	// clientBuffer is how much output waits for a client before the terminal does, in bytes.
	clientBuffer = 64 << 10
	// stallLimit is how long a client may hold up the terminal. After that output goes on without
	// it, and it gets a fresh snapshot once it reads again.
	stallLimit = 10 * time.Second
)

// hub passes the terminal's output to every attached client, as fast as the slowest of them for up
// to stallLimit.
type hub struct {
	mu         sync.Mutex
	cond       *sync.Cond
	screen     Screen
	clients    map[*client]struct{}
	detachedAt time.Time
	active     time.Time // last input or output
	size       wire.Size
	setSize    func(wire.Size)
	exit       *wire.ExitStatus
	stall      time.Duration // stallLimit
}

func newHub(screen Screen, size wire.Size, setSize func(wire.Size)) *hub {
	h := &hub{screen: screen, clients: map[*client]struct{}{}, size: size, setSize: setSize, active: time.Now(),
		stall: stallLimit}
	h.cond = sync.NewCond(&h.mu)
	return h
}

// client is one attached client's outgoing side.
type client struct {
	pending []byte
	modes   ttymodes.Modes // of its terminal, after what was sent
	behind  bool           // lost output: gets a snapshot next
	closed  bool
}

// attach adds a client of a size, unless it wants to be alone and is not. It begins with a snapshot.
func (h *hub) attach(exclusive bool, size wire.Size) (*client, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if exclusive && len(h.clients) > 0 {
		return nil, false
	}
	h.resizeLocked(size) // first: what is sent again ends with the margins of this size
	c := &client{pending: h.screen.Snapshot()}
	h.clients[c] = struct{}{}
	return c, true
}

func (h *hub) detach(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.clients[c]; !ok {
		return
	}
	delete(h.clients, c)
	c.closed = true
	if len(h.clients) == 0 {
		h.detachedAt = time.Now().UTC()
	}
	h.cond.Broadcast()
}

// output takes what the terminal printed. It returns when every client has room again.
func (h *hub) output(p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.active = time.Now()
	h.screen.Write(p)
	for c := range h.clients {
		if !c.behind {
			c.pending = append(c.pending, p...)
		}
	}
	h.cond.Broadcast()
	if !h.crowded() {
		return
	}
	t := time.AfterFunc(h.stall, h.leaveBehind)
	for h.crowded() {
		h.cond.Wait()
	}
	t.Stop()
}

func (h *hub) crowded() bool {
	for c := range h.clients {
		if len(c.pending) > clientBuffer && !c.behind {
			return true
		}
	}
	return false
}

func (h *hub) leaveBehind() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.clients {
		if len(c.pending) > clientBuffer {
			c.behind, c.pending = true, nil
		}
	}
	h.cond.Broadcast()
}

// fresh brings a client that fell behind, in its usual modes, to a clean page before its snapshot.
const fresh = "\x1b[2J\x1b[H"

// next waits for output of a client and takes it. spare is reused for what comes next. ok is false
// when nothing will follow: the client left, or all was sent and the terminal has ended.
func (h *hub) next(c *client, spare []byte) (p []byte, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case c.closed:
			return nil, false
		case c.behind:
			c.behind = false
			p = slices.Concat(c.modes.Off(), []byte(fresh), h.screen.Snapshot())
			c.modes.Scan(p)
			return p, true
		case len(c.pending) > 0:
			p, c.pending = c.pending, spare[:0]
			c.modes.Scan(p)
			h.cond.Broadcast()
			return p, true
		case h.exit != nil:
			return nil, false
		}
		h.cond.Wait()
	}
}

// end tells all that the terminal has ended.
func (h *hub) end(x wire.ExitStatus) {
	h.mu.Lock()
	h.exit = &x
	h.mu.Unlock()
	h.cond.Broadcast()
}

// ended returns how the terminal ended, or nil.
func (h *hub) ended() *wire.ExitStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.exit
}

// waitEnd waits until the terminal has ended or gone is set, by wake.
func (h *hub) waitEnd(gone *bool) wire.ExitStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.exit == nil && !*gone {
		h.cond.Wait()
	}
	if h.exit == nil {
		return wire.ExitStatus{}
	}
	return *h.exit
}

// wake changes something that a waiter looks at, under the hub's lock.
func (h *hub) wake(change func()) {
	h.mu.Lock()
	change()
	h.mu.Unlock()
	h.cond.Broadcast()
}

// input notes that somebody typed at a terminal of this size, which becomes the terminal's: the one
// who typed last sees it right.
func (h *hub) input(size wire.Size) {
	h.mu.Lock()
	h.active = time.Now()
	h.mu.Unlock()
	h.resize(size)
}

func (h *hub) resize(size wire.Size) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.resizeLocked(size)
}

func (h *hub) resizeLocked(size wire.Size) {
	if size.Rows > 0 && size.Cols > 0 && size != h.size {
		h.size = size
		h.screen.Resized()
		h.setSize(size)
	}
}

func (h *hub) info() Info {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Info{Protocol: process.Protocol, Attached: len(h.clients), DetachedAt: h.detachedAt,
		LastActivity: h.active.UTC(), Rows: h.size.Rows, Cols: h.size.Cols}
}
