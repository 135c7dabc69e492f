package ssh

import "time"

// Phase is where an instance's line stands.
type Phase string

// The phases of a line.
const (
	Connecting Phase = "connecting"
	Ready      Phase = "ready"
	Lost       Phase = "lost"
	NeedsYou   Phase = "needs_you" // it comes back only with a person's help; Reason says which
)

// State is the state of an instance's line, for Options.OnState.
type State struct {
	Phase  Phase
	Reason string    // for Lost: why; for NeedsYou: passphrase, password, code, touch, host key …
	Since  time.Time // when the phase was entered
	Retry  time.Time // when the next attempt is made; zero if none is planned
}

// AgentState is what is known of the agent at the end of a line, in the words of api.AgentStatus.
type AgentState struct {
	State     string // ready, connecting, unavailable
	Reason    string
	Transport string // streamlocal, dial or ssh
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
