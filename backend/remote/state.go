package remote

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
