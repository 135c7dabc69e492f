package api

import (
	"context"
	"sync"
)

// WorkspaceClient calls the workspace, which the daemon serves. Dial must be set; the other fields may stay zero.
// It is safe for concurrent use. Errors are *Error; where nothing answers, their code is CodeUnreachable.
//
// Its own calls are about the fleet. Daemon, Operations and OwnImages have those about the rest, and Agent those that
// an instance's agent answers.
type WorkspaceClient struct {
	// Dial opens a connection to the daemon. It may start it.
	Dial Dialer
	// Env is sent along, so that the work runs with the caller's agents and credentials.
	Env map[string]string
	// Answer, if set, answers the questions that the calls cause.
	Answer func(ctx context.Context, q Question) (Answer, error)
	// Silent, if set, makes the error of a call to a daemon that runs and does not answer anything.
	Silent func() error
	// Inside, if set, is the agent of the instance that this runs on: the one that Agent returns then, and no daemon is
	// called.
	Inside *AgentClient

	once sync.Once
	id   string
	t    *transport
}

func (c *WorkspaceClient) transport() *transport {
	c.once.Do(func() {
		c.id = clientID()
		c.t = newTransport(c.Dial, CallerDocument{ClientID: c.id, Interactive: c.Answer != nil, Env: c.Env})
		c.t.watch = &watch{after: silentAfter, within: aliveWithin, silent: c.Silent}
		if c.Silent == nil {
			c.t.watch.silent = func() error { return Errorf(CodeUnreachable, "Berth's service does not answer") }
		}
	})
	return c.t
}

// Close ends idle connections.
func (c *WorkspaceClient) Close() {
	c.transport().http.CloseIdleConnections()
	if c.Inside != nil {
		c.Inside.Close()
	}
}

// Agent returns a client of the named instance's agent, which the daemon connects to. Its questions are c's, and its
// connections are closed with c's.
func (c *WorkspaceClient) Agent(instance string) *AgentClient {
	if c.Inside != nil {
		return c.Inside
	}
	return &AgentClient{prefix: instancePath(instance) + "/agent", t: c.transport()}
}

// OpenExec begins a command on an instance.
func (c *WorkspaceClient) OpenExec(ctx context.Context, instance string, q ExecRequest) (*Stream, error) {
	q, needs := q.carried()
	return c.transport().openStream(ctx, instancePath(instance)+"/exec", q, needs)
}

// OpenTerminal attaches to a terminal on an instance, or opens one.
func (c *WorkspaceClient) OpenTerminal(ctx context.Context, instance string, q TerminalRequest) (*Stream, error) {
	return c.transport().openStream(ctx, instancePath(instance)+"/terminal", q, nil)
}
