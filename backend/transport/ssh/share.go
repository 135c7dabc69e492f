package ssh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/backend"
)

// acquire returns a connection to t that the caller must unref.
func (m *Manager) acquire(ctx context.Context, t backend.SSHTarget) (*Conn, error) {
	tgt, err := m.resolve(ctx, t)
	if err != nil {
		return nil, err
	}
	return m.shared(ctx, tgt)
}

// shared returns the one connection to a target, making it if there is none; the caller must unref it. One that is
// there is everybody's; one that is being made is for those alone who would make it in the same way.
func (m *Manager) shared(ctx context.Context, t *target) (*Conn, error) {
	k := try{t.id, backend.Fingerprint(backend.CallerFrom(ctx).Env), someoneThere(ctx)}
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			return nil, errClosed
		}
		if c := m.live(t); c != nil {
			m.ref(c)
			m.mu.Unlock()
			return c, nil
		}
		a := m.attempts[k]
		mine := a == nil
		if mine {
			a = &attempt{done: make(chan struct{}), asker: askerOf(ctx)}
			m.attempts[k] = a
		}
		m.mu.Unlock()
		if mine {
			m.make(ctx, t, k, a)
			return a.conn, a.err
		}
		select {
		case <-a.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		// What stopped another caller need not stop this one: its context, or who did not answer.
		var p *needsPerson
		switch {
		case a.err == nil, errors.Is(a.err, context.Canceled), errors.Is(a.err, context.DeadlineExceeded):
		case errors.As(a.err, &p) && askerOf(ctx) != a.asker:
		default:
			return nil, a.err
		}
	}
}

// live returns the connection to a target that is there, or nil; m.mu is held.
func (m *Manager) live(t *target) *Conn {
	if c := m.conns[t.id]; c != nil && c.alive() {
		return c
	}
	return nil
}

func (m *Manager) make(ctx context.Context, t *target, k try, a *attempt) {
	defer close(a.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	c, err := m.build(ctx, t)
	var unseen *Conn
	defer func() {
		if unseen != nil {
			unseen.tr.close()
		}
	}()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.attempts, k)
	switch live := m.live(t); {
	case m.closed && err == nil:
		unseen = c // Close did not see it
		fallthrough
	case m.closed:
		a.err = errClosed
	case live != nil: // another environment's came first
		if unseen = c; c != nil {
			c.cancel()
			if c.via != nil {
				m.unref(c.via)
			}
		}
		m.ref(live)
		a.conn = live
	case err != nil:
		a.err = err
	default:
		m.conns[t.id] = c
		m.ref(c)
		a.conn = c
		m.wg.Go(func() { m.tend(c) })
	}
}

// build makes a connection, with that to its jump host first.
func (m *Manager) build(ctx context.Context, t *target) (*Conn, error) {
	var via *Conn
	if t.via != nil {
		var err error
		if via, err = m.shared(ctx, t.via); err != nil {
			return nil, fmt.Errorf("reaching the jump host: %w", err)
		}
	}
	begun := time.Now()
	tr, err := m.open(ctx, t, via)
	if err != nil {
		if via != nil {
			m.mu.Lock()
			m.unref(via)
			m.mu.Unlock()
		}
		return nil, err
	}
	m.o.Log.Debug("connected", "host", t.where(), "took", time.Since(begun))
	return newConn(ctx, m, t, tr, via), nil
}

// ref and unref count the users of a connection; m.mu is held. One without users is closed after a
// while: what follows a first look (adopt, then place the agent) finds it warm.
func (m *Manager) ref(c *Conn) {
	c.refs++
	if c.linger != nil {
		c.linger.Stop()
		c.linger = nil
	}
}

const lingerTime = time.Minute

func (m *Manager) unref(c *Conn) {
	c.refs--
	if c.refs > 0 || m.closed || c.retired || c.linger != nil {
		return
	}
	c.linger = time.AfterFunc(lingerTime, func() { m.closeUnused(c) })
}

// closeUnused closes a connection that nobody uses.
func (m *Manager) closeUnused(c *Conn) {
	m.mu.Lock()
	unused := c.refs == 0
	if unused {
		m.retire(c)
	}
	m.mu.Unlock()
	if unused {
		m.closeRetired(c)
	}
}

// retire takes a connection that is to be closed away from those that are handed out. Closing takes a while and is
// done without the lock: whoever asks for the target meanwhile gets another connection, not one that ends in his
// hands. m.mu is held; closeRetired must follow.
func (m *Manager) retire(c *Conn) {
	c.retired = true
	if m.conns[c.t.id] == c {
		delete(m.conns, c.t.id)
	}
}

func (m *Manager) closeRetired(c *Conn) {
	if m.o.closing != nil {
		m.o.closing()
	}
	c.tr.close()
}
