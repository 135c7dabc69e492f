package api

import (
	"context"
	"net/http"
	"net/url"
	"sync"
)

// AgentClient calls the agent of one instance: directly, if Dial is set, or through the daemon
// (WorkspaceClient.Agent). It is safe for concurrent use. Errors are as those of WorkspaceClient.
type AgentClient struct {
	// Dial opens a connection to the agent.
	Dial Dialer
	// Home is who calls.
	Home Home

	prefix string // of each path
	once   sync.Once
	t      *transport
}

func (c *AgentClient) transport() *transport {
	c.once.Do(func() {
		if c.t == nil {
			c.t = newTransport(c.Dial, CallerDocument{ClientID: clientID()})
			c.t.home = c.Home
		}
	})
	return c.t
}

func (c *AgentClient) call(ctx context.Context, method, path string, body, out any) error {
	return c.transport().call(ctx, method, c.prefix+path, body, out)
}

func (c *AgentClient) open(ctx context.Context, method, path string) (*http.Response, error) {
	return c.transport().open(ctx, method, c.prefix+path, nil)
}

// Close ends idle connections.
func (c *AgentClient) Close() { c.transport().http.CloseIdleConnections() }

// OpenExec begins a command.
func (c *AgentClient) OpenExec(ctx context.Context, q ExecRequest) (*Stream, error) {
	q, needs := q.carried()
	return c.transport().openStream(ctx, c.prefix+"/v1/exec", q, needs)
}

// ExecState says what has become of a command whose stream broke, by the Exec that it began with.
func (c *AgentClient) ExecState(ctx context.Context, id string) (ExecState, error) {
	var v ExecState
	return v, c.call(ctx, http.MethodGet, "/v1/exec/"+url.PathEscape(id), nil, &v)
}

// OpenTerminal attaches to a terminal, or opens one.
func (c *AgentClient) OpenTerminal(ctx context.Context, q TerminalRequest) (*Stream, error) {
	return c.transport().openStream(ctx, c.prefix+"/v1/terminal", q, nil)
}

// Info returns what an agent says of itself.
func (c *AgentClient) Info(ctx context.Context) (AgentInfo, error) {
	var v AgentInfo
	return v, c.call(ctx, http.MethodGet, "/v1/info", nil, &v)
}

// Terminals lists an agent's terminals, oldest first.
func (c *AgentClient) Terminals(ctx context.Context) ([]Terminal, error) {
	var v []Terminal
	return v, c.call(ctx, http.MethodGet, "/v1/terminals", nil, &v)
}

// KillTerminal ends a terminal and its processes.
func (c *AgentClient) KillTerminal(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v1/terminals/"+url.PathEscape(id), nil, nil)
}

// Stop ends an agent. It answers when all is ended.
func (c *AgentClient) Stop(ctx context.Context, r StopRequest) error {
	return c.call(ctx, http.MethodPost, "/v1/stop", r, nil)
}

// Leave ends what is of one home, where others use the agent, too. It is CodeNotFound of an agent that knows no homes.
func (c *AgentClient) Leave(ctx context.Context, r LeaveRequest) (LeaveAnswer, error) {
	var v LeaveAnswer
	return v, c.call(ctx, http.MethodPost, "/v1/leave", r, &v)
}

// FollowEvents streams an agent's events until ctx ends.
func (c *AgentClient) FollowEvents(ctx context.Context, each func(Event) error) error {
	res, err := c.open(ctx, http.MethodGet, "/v1/events")
	if err != nil {
		return err
	}
	return decodeStream(ctx, res, each)
}
