// Package dial is the daemon's way to the agents of all instances: unix sockets for those on this
// host, SSH (package transport/ssh) for the others.
package dial

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/transport/ssh"
)

// Options of a Dialer.
type Options struct {
	Home paths.Home
	Log  *slog.Logger
	// Silence is how long an SSH line may say nothing before it is given up. 0 is 15 s.
	Silence time.Duration
	// State is told when the way to an instance changes (up or lost), and what is then known of its
	// agent (nil: nothing new).
	State func(id string, up bool, st *api.AgentStatus)
	// AgentBinary returns the agent's program for hosts of a system and architecture.
	AgentBinary func(ctx context.Context, goos, goarch string) (string, error)
}

// Dialer reaches agents. It implements workspace.Dialer and daemon.Dialer.
type Dialer struct {
	remote *ssh.Manager
	state  func(id string, up bool, st *api.AgentStatus)

	mu   sync.Mutex
	away map[string]bool // agents on this host of which it was said that they are away
}

// New returns a Dialer with nothing open. Close it.
func New(o Options) *Dialer {
	l := &Dialer{state: o.State, away: map[string]bool{}}
	l.remote = ssh.NewManager(ssh.Options{Home: o.Home, Log: o.Log, AgentBinary: o.AgentBinary,
		Silence: o.Silence,
		OnState: func(id string, s ssh.State) {
			switch s.Phase {
			case ssh.Ready:
				o.State(id, true, nil)
			case ssh.Lost:
				o.State(id, false, &api.AgentStatus{State: "connecting", Reason: s.Reason})
			case ssh.NeedsYou:
				o.State(id, false, &api.AgentStatus{State: "needs_you", Reason: s.Reason})
			}
		},
		OnAgent: func(id string, s ssh.AgentState, info *api.AgentInfo) {
			st := &api.AgentStatus{State: s.State, Reason: s.Reason, Transport: s.Transport}
			if info != nil {
				st.Version, st.Capability = info.Version, info.Capability
				st.AfterReboot, st.Environment = info.AfterReboot, info.Environment
			}
			o.State(id, true, st)
		}})
	return l
}

// Remote is the manager of the SSH connections.
func (l *Dialer) Remote() *ssh.Manager { return l.remote }

// Keep implements daemon.Dialer.
func (l *Dialer) Keep(keep func(id string) bool) { l.remote.Keep(keep) }

// Close ends all connections.
func (l *Dialer) Close() { l.remote.Close() }

// Agent implements workspace.Dialer.
func (l *Dialer) Agent(ctx context.Context, to backend.Endpoint) (net.Conn, error) {
	switch {
	case to.Line.Socket != "":
		c, err := l.dialSocket(ctx, to)
		if err != nil {
			return nil, api.Errorf(api.CodeUnreachable, "the agent of %s does not answer: %w", to.Name, err).
				WithHint("berth show --console %s; berth restart %s", to.Name, to.Name)
		}
		return c, nil
	case to.Line.SSH != nil:
		conn, err := l.remote.Conn(ctx, to.ID, *to.Line.SSH)
		if err != nil {
			return nil, err
		}
		return conn.Agent(ctx)
	}
	return nil, api.Errorf(api.CodeUnreachable, "%s has no address yet: it is %s", to.Name, to.State)
}

// awayLimit is how long an agent on this host is waited for that was there and is not: it is being replaced by an older
// protocol's hand-over, or was killed and is started again. Over SSH, package ssh starts it.
const awayLimit = 5 * time.Second

// dialSocket connects to the agent that listens on a socket of this host. One of a running instance that is away is
// waited for, and it is told: whoever keeps it looks, and starts it again where all above it is gone too.
func (l *Dialer) dialSocket(ctx context.Context, to backend.Endpoint) (net.Conn, error) {
	var d net.Dialer
	began := time.Now()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		c, err := d.DialContext(ctx, "unix", to.Line.Socket)
		away := errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)
		if err == nil || away && to.State == api.StateRunning {
			l.tell(to.ID, away)
		}
		if err == nil || to.State != api.StateRunning || !away || time.Since(began) > awayLimit {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}

// tell tells that an agent on this host is away, or is back, where that is new.
func (l *Dialer) tell(id string, away bool) {
	l.mu.Lock()
	fresh := l.away[id] != away
	if away {
		l.away[id] = true
	} else {
		delete(l.away, id)
	}
	l.mu.Unlock()
	if fresh {
		l.state(id, !away, nil)
	}
}

// Forget implements workspace.Dialer.
func (l *Dialer) Forget(ctx context.Context, to backend.Endpoint, uninstall string) (*backend.Shared, error) {
	if to.Line.SSH == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.away, to.ID)
		return nil, nil // what is on this host, its backend removes
	}
	if uninstall != "" {
		return l.remote.Remove(ctx, to.ID, *to.Line.SSH, uninstall)
	}
	l.remote.Drop(to.ID)
	return nil, nil
}

// ServePlain implements daemon.Dialer.
func (l *Dialer) ServePlain(ctx context.Context, to backend.Endpoint, path string, s *api.Stream) error {
	if to.Line.SSH == nil {
		return api.Errorf(api.CodeUnreachable, "%s has no agent and no SSH", to.Name)
	}
	conn, err := l.remote.Conn(ctx, to.ID, *to.Line.SSH)
	if err != nil {
		return err
	}
	switch path {
	case "/v1/exec":
		var q api.ExecRequest
		if err := s.ReadRequest(&q, 0); err != nil {
			return err
		}
		conn.ServeExec(ctx, s, q)
	case "/v1/terminal":
		var q api.TerminalRequest
		if err := s.ReadRequest(&q, 0); err != nil {
			return err
		}
		conn.ServeTerminal(ctx, s, q)
	case "/v1/forward":
		var q api.ForwardRequest
		if err := s.ReadRequest(&q, 0); err != nil {
			return err
		}
		return conn.ServeForward(ctx, s, q)
	default:
		return api.Errorf(api.CodeUnsupported, "%s of %s needs the agent", path, to.Name)
	}
	return nil
}

// OpenBackend opens a registered backend and gives it the SSH connections.
func (l *Dialer) OpenBackend(env backend.Env, name string) (backend.Backend, error) {
	env.Remote, env.Agent = l.remote, l.remote.Agent
	b, err := backend.Open(name, env)
	if err != nil {
		return nil, fmt.Errorf("backend %s: %w", name, err)
	}
	return b, nil
}
