package ports

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/backend/transport/forward"
	"berth/gpu/procs/listeners"
)

// connectLimit is how long what listens may take to take a connection.
const connectLimit = 20 * time.Second

// connect connects to what a request asks for.
func (s *service) connect(ctx context.Context, q api.ForwardRequest) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	if (q.Port != 0) == (len(q.Socket) > 0) {
		return nil, api.Errorf(api.CodeUsage, "a forward leads to a port or to a unix socket: one of them is to be said")
	}
	if len(q.Socket) > 0 {
		return s.connectSocket(ctx, string(q.Socket))
	}
	if q.Port < 1 || q.Port > 65535 {
		return nil, api.Errorf(api.CodeUsage, "%d is no port: they are 1 to 65535", q.Port)
	}
	return connectPort(ctx, q.Port)
}

func (s *service) connectSocket(ctx context.Context, path string) (net.Conn, error) {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join(s.h.Home, rest)
	}
	if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
		return nil, api.Errorf(api.CodeUsage, "%.100q is no absolute path of a unix socket", path)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, syscall.ENOENT):
		return nil, api.Errorf(api.CodeFailed, "there is no socket %s on the instance", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, api.Errorf(api.CodeFailed, "nothing listens on the socket %s of the instance", path)
	case errors.Is(err, syscall.EACCES):
		return nil, api.Errorf(api.CodeForbidden, "the instance's user may not use the socket %s", path)
	case err != nil:
		return nil, api.Errorf(api.CodeFailed, "connecting to the socket %s of the instance: %w", path, forward.Cause(err))
	}
	return conn, nil
}

// connectPort tries this host by both families, and then the addresses that the port is listened on at.
func connectPort(ctx context.Context, port int) (net.Conn, error) {
	conn, first := part.DialLoopback(ctx, port)
	if first == nil {
		return conn, nil
	}
	var d net.Dialer
	list, _ := listeners.Read() // it has been tried where it mostly is
	at := false
	for _, l := range listeners.On(list, port) {
		for _, a := range l.Addresses {
			at = true
			if a.IsUnspecified() || a.String() == "127.0.0.1" || a.String() == "::1" {
				continue
			}
			if conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(a.String(), strconv.Itoa(port))); err == nil {
				return conn, nil
			}
		}
	}
	if errors.Is(first, syscall.ECONNREFUSED) && !at {
		return nil, api.Errorf(api.CodeFailed, "nothing listens on port %d of the instance (connection refused)", port)
	}
	return nil, api.Errorf(api.CodeFailed, "connecting to port %d of the instance: %w", port, forward.Cause(first))
}
