package ssh

import (
	"net"

	"golang.org/x/sys/unix"
)

// quickAck makes the kernel acknowledge what has come at once. sshd leaves Nagle's algorithm on until
// a session starts: its answer to our first request waits for the acknowledgement of what it said
// before, which the kernel would hold back for 40 ms. The kernel forgets the setting, so it is made again.
func quickAck(c net.Conn) {
	if p, ok := c.(*peeked); ok {
		c = p.Conn
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return
	}
	// It only saves time: an error costs 40 ms.
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
}
