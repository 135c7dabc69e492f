package peercred

import (
	"fmt"
	"net"
)

// UID returns the user id of the process at the other end of a unix socket, as the kernel noted it when
// the connection was made.
func UID(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	uid := -1
	var cerr error
	err = raw.Control(func(fd uintptr) { uid, cerr = uidOf(int(fd)) })
	if err == nil {
		err = cerr
	}
	if err != nil {
		return -1, fmt.Errorf("asking who connects: %w", err)
	}
	return uid, nil
}
