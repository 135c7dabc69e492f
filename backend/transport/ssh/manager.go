package ssh

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/paths"
)

// Options of a Manager. Only Home must be set.
type Options struct {
	Home paths.Home
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
	// Silence is how long a line may say nothing, though it is asked, before it is given up. 0 is 15 s.
	Silence time.Duration
	// StartFlags are further flags for the agent's start.
	StartFlags []string
	// Backoff is the first pause before a lost line is tried again; it doubles up to 128 times. 0 is 1 s.
	Backoff time.Duration

	closing func() // for tests: called before a connection that is not handed out any more is closed
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
	conns    map[string]*Conn // by target
	attempts map[try]*attempt
	lines    map[string]*line    // by instance
	secrets  map[string]*secrets // by target
	gone     map[string]bool     // instances that were removed (Remove)

	handedOver bool // see Keep
}

// line is what the manager knows of one instance.
type line struct {
	key    string
	target backend.SSHTarget
	conn   *Conn
	env    map[string]string  // selectors of the call that last made its connection
	retry  context.CancelFunc // ends the reconnection under way
	state  State
}

// try says for whom a connection is being made: who has another environment, or somebody to ask, may get in where this
// one does not.
type try struct {
	target string
	env    [sha256.Size]byte
	asking bool // a person is there for its questions
}

// attempt is a connection being made.
type attempt struct {
	done  chan struct{}
	asker string // whom it asks; empty: nobody is there
	conn  *Conn
	err   error
}

// NewManager returns a Manager with no connection. Close it.
func NewManager(o Options) *Manager {
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if o.Handshakes <= 0 {
		o.Handshakes = 16
	}
	if o.Silence <= 0 {
		o.Silence = 15 * time.Second
	}
	if o.Backoff <= 0 {
		o.Backoff = time.Second
	}
	m := &Manager{o: o, hands: make(slots, o.Handshakes), conns: map[string]*Conn{}, attempts: map[try]*attempt{},
		lines: map[string]*line{}, secrets: map[string]*secrets{}, gone: map[string]bool{}}
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
	if m.gone[key] {
		m.mu.Unlock()
		return nil, errLeaving
	}
	l := m.lines[key]
	if l == nil {
		l = &line{key: key}
		m.lines[key] = l
	}
	if l.conn != nil && l.target == t && !l.conn.retired && l.conn.alive() {
		c := l.conn
		m.mu.Unlock()
		return c, nil
	}
	if l.conn != nil {
		m.unref(l.conn)
		l.conn = nil
	}
	l.target = t
	retried := l.retry != nil
	m.stopRetry(l)
	if who := backend.CallerFrom(ctx); who.Principal.Kind == backend.PrincipalSystem && l.env != nil {
		ctx = backend.WithCaller(ctx, &backend.Caller{Principal: who.Principal, Env: l.env}) // this is known to get in
	}
	m.mu.Unlock()
	m.setState(l, State{Phase: Connecting})
	c, err := m.acquire(ctx, t)
	c, err = m.settle(l, t, c, err)
	if err != nil && retried {
		m.reconnect(l) // who made it may get in where this call does not
	}
	return c, err
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
		l.conn, l.env = c, c.env
	}
	m.mu.Unlock()
	if current {
		c.agent.leave(false) // another instance was removed that had it, too
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

// Drop forgets an instance: its line is not kept up any longer, and what was typed for it is
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
			m.retire(c)
			delete(m.secrets, c.t.id)
		}
	}
	m.mu.Unlock()
	if last != nil {
		m.closeRetired(last)
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
