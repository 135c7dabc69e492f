package part

import (
	"context"
	"net"
	"strconv"
)

// DialLoopback connects to a port of this machine, whichever of its two loopback addresses is listened on. Its error is
// that of the first, 127.0.0.1.
func DialLoopback(ctx context.Context, port int) (net.Conn, error) {
	var d net.Dialer
	n := strconv.Itoa(port)
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", n))
	if err != nil {
		if six, err6 := d.DialContext(ctx, "tcp", net.JoinHostPort("::1", n)); err6 == nil {
			return six, nil
		}
	}
	return c, err
}
