package ssh

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"berth/backend"
	"berth/backend/api"
)

const (
	// slept is how long this process must have done nothing for that to have been a sleep of the computer, and
	// wakeLimit how long a line may take to answer then.
	slept, wakeLimit = 45 * time.Second, 5 * time.Second
)

// keepalive is how often a line is asked.
func (o *Options) keepalive() time.Duration { return o.Silence / 5 }

// patience is how long after its last word a line that is asked is given up. What has to be done then takes the rest of
// Silence.
func (o *Options) patience() time.Duration { return o.Silence - o.Silence/10 }

// wallTime is the time without Go's monotonic reading, which stands still while a computer sleeps.
func wallTime() time.Time { return time.Now().Round(0) }

// tend watches over a connection until it ends, and then over what was built on it.
func (m *Manager) tend(c *Conn) {
	tick := time.NewTicker(m.o.keepalive())
	defer tick.Stop()
	last, spoke := wallTime(), time.Now()
	for c.alive() {
		select {
		case <-c.tr.gone():
		case <-m.ctx.Done():
			c.tr.close()
		case <-tick.C:
			// After a sleep of this computer most lines are dead: one try tells.
			began := time.Now()
			if heard := c.tr.heard(); heard.After(spoke) {
				spoke = heard
			}
			// Some time is given always: it may be this process that heard nothing, because it did not run.
			patience := max(m.o.patience()-began.Sub(spoke), m.o.keepalive()/2)
			limit := min(m.o.keepalive(), patience)
			if wallTime().Sub(last) > slept {
				patience, limit = wakeLimit, wakeLimit
			}
			ctx, cancel := context.WithTimeout(m.ctx, limit)
			err := c.tr.ping(ctx)
			cancel()
			last = wallTime()
			switch {
			case err == nil, c.tr.heard().After(began): // on a slow line the answer stands behind what comes meanwhile
				spoke = time.Now()
			case errors.Is(err, context.DeadlineExceeded):
				if limit >= patience {
					c.silent.Store(true)
					m.mu.Lock()
					m.retire(c)
					lines := m.linesOn(c)
					m.mu.Unlock()
					for _, l := range lines { // before the streams end: whoever is on one asks why
						m.setState(l, State{Phase: Lost, Reason: c.reason()})
					}
					m.closeRetired(c)
				}
			}
		}
	}
	c.end()
	m.mu.Lock()
	if m.conns[c.t.id] == c {
		delete(m.conns, c.t.id)
	}
	if c.linger != nil {
		c.linger.Stop()
	}
	if c.via != nil {
		m.unref(c.via)
	}
	m.mu.Unlock()
	m.lost(c)
}

// lost starts the reconnection of the lines that were on c.
func (m *Manager) lost(c *Conn) {
	m.mu.Lock()
	lines := m.linesOn(c)
	for _, l := range lines {
		l.conn = nil
	}
	closed := m.closed
	m.mu.Unlock()
	if closed {
		return
	}
	reason := c.reason()
	m.o.Log.Info("line lost", "host", c.t.where(), "reason", reason)
	for _, l := range lines {
		m.setState(l, State{Phase: Lost, Reason: reason})
		m.reconnect(l)
	}
}

// linesOn lists the lines of a connection; m.mu is held.
func (m *Manager) linesOn(c *Conn) (out []*line) {
	for _, l := range m.lines {
		if l.conn == c {
			out = append(out, l)
		}
	}
	return out
}

// reconnect makes a lost line again, in the background.
func (m *Manager) reconnect(l *line) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.handedOver || l.retry != nil || m.lines[l.key] != l {
		return
	}
	ctx, cancel := context.WithCancel(backend.WithCaller(m.ctx, &backend.Caller{Principal: backend.System, Env: l.env}))
	l.retry = cancel
	t := l.target
	m.wg.Go(func() {
		defer cancel()
		m.retry(ctx, l, t)
	})
}

// stopRetry ends a reconnection; m.mu is held.
func (m *Manager) stopRetry(l *line) {
	if l.retry != nil {
		l.retry()
		l.retry = nil
	}
}

func (m *Manager) retry(ctx context.Context, l *line, t backend.SSHTarget) {
	for n := 0; ; n++ {
		// Up to half as long again, so that a rebooted jump host does not meet everybody at once.
		pause := m.o.Backoff << min(n, 7)
		pause += rand.N(pause/2 + 1)
		reason := m.State(l.key).Reason
		m.setStateUnless(ctx, l, State{Phase: Lost, Reason: reason, Retry: time.Now().Add(pause)})
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		m.setStateUnless(ctx, l, State{Phase: Connecting, Reason: reason})
		c, err := m.acquire(ctx, t)
		if ctx.Err() != nil {
			if err == nil {
				m.mu.Lock()
				m.unref(c)
				m.mu.Unlock()
			}
			return
		}
		if err == nil || !worthRetrying(err) {
			m.mu.Lock()
			if ctx.Err() == nil {
				l.retry = nil
			}
			m.mu.Unlock()
			_, _ = m.settle(l, t, c, err) // the state tells
			return
		}
		m.setStateUnless(ctx, l, failure(err))
	}
}

func (m *Manager) setStateUnless(ctx context.Context, l *line, s State) {
	if ctx.Err() == nil {
		m.setState(l, s)
	}
}

// worthRetrying reports whether time alone may cure err. A refused key does not get better by itself,
// and knocking on would lock the user out.
func worthRetrying(err error) bool {
	var p *needsPerson
	if errors.As(err, &p) {
		return false
	}
	var e *api.Error
	return !errors.As(err, &e) || e.Code == api.CodeUnreachable
}
