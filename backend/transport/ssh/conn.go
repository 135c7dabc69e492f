package ssh

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"berth/backend"
	"berth/backend/transport/forward"
)

// Conn is one SSH connection and the agent at its end. It is safe for concurrent use.
type Conn struct {
	m      *Manager
	t      *target
	tr     transport
	via    *Conn
	env    map[string]string // selectors of the call that made it
	silent atomic.Bool       // it was given up for want of an answer

	// Guarded by m.mu.
	refs    int         // users
	linger  *time.Timer // closes it when it has had no user for a while
	retired bool        // it is being closed, and not handed out any more

	ctx    context.Context // of the connection's life
	cancel context.CancelFunc
	wg     sync.WaitGroup
	agent  agentSlot
	system atomic.Pointer[look] // what the host is; nil: it was not looked at yet

	forwards *forward.Memory
}

func newConn(ctx context.Context, m *Manager, t *target, tr transport, via *Conn) *Conn {
	c := &Conn{m: m, t: t, tr: tr, via: via, env: backend.Selectors(backend.CallerFrom(ctx).Env),
		forwards: forward.NewMemory()}
	c.ctx, c.cancel = context.WithCancel(m.ctx)
	c.agent.init()
	return c
}

// end stops what the connection started; its transport is gone.
func (c *Conn) end() {
	c.cancel()
	c.agent.close()
	c.wg.Wait()
}

func (c *Conn) alive() bool {
	select {
	case <-c.tr.gone():
		return false
	default:
		return true
	}
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.tr.gone() }

func (c *Conn) reason() string {
	if c.silent.Load() {
		return "it no longer answers"
	}
	if err := c.tr.why(); err != nil {
		return oneLine(err.Error())
	}
	return "the connection was closed"
}

// Target is the host as it was resolved: user, name or address, port.
func (c *Conn) Target() (user, host string, port int) {
	return c.t.host.User, c.t.host.Hostname, c.t.host.Port
}

// ID identifies the host for this user: user@host:port, with its jump hosts.
func (c *Conn) ID() string {
	id := c.t.host.User + "@" + c.t.host.Addr()
	for v := c.t.via; v != nil; v = v.via {
		id += " via " + v.host.User + "@" + v.host.Addr()
	}
	return id
}

// Ping makes the host answer, or returns why it does not.
func (c *Conn) Ping(ctx context.Context) error { return c.tr.ping(ctx) }

// Dial connects to a TCP address or unix socket as seen from the host; where its sshd forbids
// forwarding the agent dials.
func (c *Conn) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return c.forward(ctx, network, address)
}

// unshare gives back a reference that acquire or shared took.
func (m *Manager) unshare(c *Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unref(c)
}
