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

// shared returns the one connection to a target, making it if there is none; the caller must unref it.
func (m *Manager) shared(ctx context.Context, t *target) (*Conn, error) {
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			return nil, errClosed
		}
		if c := m.conns[t.id]; c != nil && c.alive() {
			m.ref(c)
			m.mu.Unlock()
			return c, nil
		}
		a := m.attempts[t.id]
		mine := a == nil
		if mine {
			a = &attempt{done: make(chan struct{}), asker: askerOf(ctx)}
			m.attempts[t.id] = a
		}
		m.mu.Unlock()
		if mine {
			m.make(ctx, t, a)
			return a.conn, a.err
		}
		select {
		case <-a.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		// What stopped another caller need not stop this one: its context, nobody to ask, or who did not answer.
		var p *needsPerson
		switch {
		case a.err == nil, errors.Is(a.err, context.Canceled), errors.Is(a.err, context.DeadlineExceeded):
		case errors.As(a.err, &p) && someoneThere(ctx) && askerOf(ctx) != a.asker:
		default:
			return nil, a.err
		}
	}
}

func (m *Manager) make(ctx context.Context, t *target, a *attempt) {
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
	delete(m.attempts, t.id)
	switch {
	case m.closed && err == nil:
		unseen = c // Close did not see it
		fallthrough
	case m.closed:
		a.err = errClosed
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
	return newConn(m, t, tr, via), nil
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
