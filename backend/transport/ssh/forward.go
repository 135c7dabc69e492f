package ssh

import (
	"context"
	"errors"
	"net"
	"path"
	"strconv"

	"berth/backend/api"
	"berth/backend/transport/forward"
)

// ServeForward connects to what listens on a host without an agent, over its SSH server: it is the server's side of a
// forward's stream whose request was read. It returns when the stream has ended.
func (c *Conn) ServeForward(ctx context.Context, s *api.Stream, req api.ForwardRequest) error {
	conn, err := c.reachPort(ctx, req)
	if err != nil {
		return err
	}
	_ = forward.Answer(ctx, s, conn, c.forwards, func() {}) // the other end is told
	return nil
}

func (c *Conn) reachPort(ctx context.Context, req api.ForwardRequest) (net.Conn, error) {
	if len(req.Socket) > 0 {
		at := string(req.Socket)
		if !path.IsAbs(at) {
			return nil, api.Errorf(api.CodeUsage, "%.100q is no absolute path of a unix socket, which is needed without the agent", at)
		}
		conn, err := c.tr.dial(ctx, "unix", at)
		return conn, c.unreached(err, "the socket "+at)
	}
	if req.Port < 1 || req.Port > 65535 {
		return nil, api.Errorf(api.CodeUsage, "%d is no port: they are 1 to 65535", req.Port)
	}
	port := strconv.Itoa(req.Port)
	conn, first := c.tr.dial(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if errors.Is(first, errNoSocket) {
		if conn, err := c.tr.dial(ctx, "tcp", net.JoinHostPort("::1", port)); err == nil {
			return conn, nil
		}
	}
	return conn, c.unreached(first, "port "+port)
}

// unreached says why something on the host could not be connected to.
func (c *Conn) unreached(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errProhibited):
		return api.Errorf(api.CodeForbidden, "%s has no agent, and its SSH server forbids to forward: %w", c.t.where(), err).
			WithHint("with an agent there it is not needed: berth show says why there is none")
	case errors.Is(err, errNoSocket):
		return api.Errorf(api.CodeFailed, "nothing listens on %s of the instance: %w", what, err)
	}
	return api.Errorf(api.CodeUnreachable, "connecting to %s of %s: %w", what, c.t.where(), err)
}
