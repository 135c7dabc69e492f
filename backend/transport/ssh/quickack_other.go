//go:build !linux

package ssh

import "net"

// quickAck is for Linux: other systems have no such setting.
func quickAck(net.Conn) {}
