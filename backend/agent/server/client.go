package server

import (
	"context"
	"net"

	"berth/backend/api"
)

// NewClient returns a client of the agent that listens on socket.
func NewClient(socket string) *api.AgentClient {
	return &api.AgentClient{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "unix", socket)
		if err != nil {
			return nil, api.Errorf(api.CodeUnreachable, "the agent on %s does not answer: %w", socket, err)
		}
		return c, nil
	}}
}
