package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/home"
)

// Options of a Manager. Only Home must be set.
type Options struct {
	Home home.Home
	Log  *slog.Logger
	// AgentBinary returns the program to run on hosts of that system and architecture (in Go's
	// names). A program whose name begins with berth-agent takes the agent's subcommands (start,
	// dial …); any other is the whole binary and takes `agent` first. See Binaries.
	AgentBinary func(ctx context.Context, goos, goarch string) (path string, err error)
	// OnState is told each change of an instance's line, one at a time. It must not call the Manager.
	OnState func(key string, s State)
	// OnAgent is told, like OnState, when something about the agent of an instance changes: that it is
	// ready and by which transport, that it can't run and why, or what it says of itself (else nil).
	OnAgent func(key string, s AgentState, info *api.AgentInfo)
	// SSHConfig is read instead of the user's and the system's ssh configuration. A caller's
	// BERTH_SSH_CONFIG comes before it.
	SSHConfig string
	// Handshakes limits how many connections are made at once; 0 is 16.
	Handshakes int
	// Keepalive is how often an idle line is tried; after three misses it is given up. 0 is 15 s.
	Keepalive time.Duration
	// StartFlags are further flags for the agent's start.
	StartFlags []string
	// Backoff is the first pause before a lost line is tried again; it doubles up to 128 times. 0 is 1 s.
	Backoff time.Duration
}

// Manager owns the SSH connections: one for each target, shared by the instances that have the same.
// It is safe for concurrent use.
type Manager struct {
	o      Options
	ctx    context.Context // of the manager's life
	cancel context.CancelFunc
	wg     sync.WaitGroup
	hands  slots
	told   sync.Mutex // orders calls of OnState

	mu       sync.Mutex
	closed   bool
	conns    map[string]*Conn    // by target
	attempts map[string]*attempt // by target
	lines    map[string]*line    // by instance
	secrets  map[string]*secrets // by target
}

// line is what the manager knows of one instance.
type line struct {
	key    string
	target backend.SSHTarget
	conn   *Conn
	env    map[string]string  // of the last call that asked for it
	retry  context.CancelFunc // ends the reconnection under way
	state  State
}

// attempt is a connection being made, for all who want it.
type attempt struct {
	done   chan struct{}
	asking bool // a person is there for its questions
	conn   *Conn
	err    error
}

// NewManager returns a Manager with no connection. Close it.
func NewManager(o Options) *Manager {
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if o.Handshakes <= 0 {
		o.Handshakes = 16
	}
	if o.Keepalive <= 0 {
		o.Keepalive = 15 * time.Second
	}
	if o.Backoff <= 0 {
		o.Backoff = time.Second
	}
	m := &Manager{o: o, hands: make(slots, o.Handshakes), conns: map[string]*Conn{}, attempts: map[string]*attempt{}, lines: map[string]*line{}, secrets: map[string]*secrets{}}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// Close ends all connections and everything that the manager started.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	m.cancel()
	var conns []*Conn
	for _, c := range m.conns {
		conns = append(conns, c)
	}
	m.mu.Unlock()
	for _, c := range conns {
		c.tr.close()
	}
	m.wg.Wait()
}

var errClosed = api.Errorf(api.CodeCancelled, "the connections are being closed")

// Conn returns the warm connection of an instance, or makes one. Questions go to the caller of ctx.
// The line is then kept up until Drop: when it breaks it is made again in the background, with what
// needs no person. Errors are *api.Error with CodeUnreachable, CodeAuth, CodeRefused (a host key) or
// CodeNoAnswer.
func (m *Manager) Conn(ctx context.Context, key string, t backend.SSHTarget) (*Conn, error) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil, errClosed
	}
	l := m.lines[key]
	if l == nil {
		l = &line{key: key}
		m.lines[key] = l
	}
	if l.conn != nil && l.target == t && l.conn.alive() {
		c := l.conn
		m.mu.Unlock()
		return c, nil
	}
	if l.conn != nil {
		m.unref(l.conn)
		l.conn = nil
	}
	l.target, l.env = t, backend.CallerFrom(ctx).Env
	m.stopRetry(l)
	m.mu.Unlock()
	m.setState(l, State{Phase: Connecting})
	c, err := m.acquire(ctx, t)
	return m.settle(l, t, c, err)
}

// settle gives a line its connection, or takes note why there is none.
func (m *Manager) settle(l *line, t backend.SSHTarget, c *Conn, err error) (*Conn, error) {
	if err != nil {
		m.setState(l, failure(err))
		return nil, err
	}
	m.mu.Lock()
	current := m.lines[l.key] == l && l.target == t
	switch {
	case !current || l.conn == c:
		m.unref(c)
	default:
		if l.conn != nil {
			m.unref(l.conn)
		}
		l.conn = c
	}
	m.mu.Unlock()
	if current {
		m.setState(l, State{Phase: Ready})
		m.tellAgent(c, l.key)
		if !c.alive() {
			m.lost(c)
		}
	}
	return c, nil
}

func failure(err error) State {
	var p *needsPerson
	if errors.As(err, &p) {
		return State{Phase: NeedsYou, Reason: p.what}
	}
	return State{Phase: Lost, Reason: err.Error()}
}

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
			a = &attempt{done: make(chan struct{}), asking: someoneThere(ctx)}
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
		// What stopped another caller need not stop this one: its context, or nobody to ask.
		var p *needsPerson
		switch {
		case a.err == nil, errors.Is(a.err, context.Canceled), errors.Is(a.err, context.DeadlineExceeded):
		case errors.As(a.err, &p) && !a.asking && someoneThere(ctx):
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
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.attempts, t.id)
	if err != nil {
		if m.closed {
			err = errClosed
		}
		a.err = err
		return
	}
	if m.closed {
		m.wg.Go(c.tr.close)
		a.err = errClosed
		return
	}
	m.conns[t.id] = c
	m.ref(c)
	a.conn = c
	m.wg.Go(func() { m.tend(c) })
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

// Drop lets go of an instance: its line is not kept up any longer, and what was typed for it is
// forgotten once no other instance uses the target.
func (m *Manager) Drop(key string) {
	m.mu.Lock()
	l := m.lines[key]
	delete(m.lines, key)
	if l == nil {
		m.mu.Unlock()
		return
	}
	m.stopRetry(l)
	var last *Conn
	if c := l.conn; c != nil {
		l.conn = nil
		c.refs--
		if c.refs == 0 {
			last = c
			delete(m.secrets, c.t.id)
		}
	}
	m.mu.Unlock()
	if last != nil {
		last.tr.close()
	}
}

// State returns the state of an instance's line; the zero State if it was never asked for.
func (m *Manager) State(key string) State {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.lines[key]; l != nil {
		return l.state
	}
	return State{}
}

func (m *Manager) setState(l *line, s State) {
	m.told.Lock()
	defer m.told.Unlock()
	m.mu.Lock()
	if m.lines[l.key] != l || (l.state.Phase == s.Phase && l.state.Reason == s.Reason && l.state.Retry.Equal(s.Retry)) {
		m.mu.Unlock()
		return
	}
	s.Since = time.Now()
	if l.state.Phase == s.Phase {
		s.Since = l.state.Since
	}
	l.state = s
	m.mu.Unlock()
	if m.o.OnState != nil {
		m.o.OnState(l.key, s)
	}
}

// tellAgent tells what is known of the agent at the end of c, for one instance or for all on c.
func (m *Manager) tellAgent(c *Conn, keys ...string) {
	if m.o.OnAgent == nil {
		return
	}
	m.told.Lock()
	defer m.told.Unlock()
	if len(keys) == 0 {
		m.mu.Lock()
		for _, l := range m.lines {
			if l.conn == c {
				keys = append(keys, l.key)
			}
		}
		m.mu.Unlock()
	}
	info, state := c.Info()
	for _, key := range keys {
		m.o.OnAgent(key, state, info)
	}
}

func (m *Manager) secretsOf(t *target) *secrets {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.secrets[t.id]
	if s == nil {
		s = &secrets{}
		m.secrets[t.id] = s
	}
	return s
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
	if c.refs > 0 || m.closed || c.linger != nil {
		return
	}
	c.linger = time.AfterFunc(lingerTime, func() {
		m.mu.Lock()
		idle := c.refs == 0
		m.mu.Unlock()
		if idle {
			c.tr.close()
		}
	})
}
