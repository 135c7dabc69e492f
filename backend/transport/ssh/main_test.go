package ssh

import (
	"io"
	"net"
	"os"
	"testing"

	"berth/backend/agent"
)

// The test binary plays the agent on the "other" side, as a development build of berth does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "agent" {
		os.Exit(agent.Main(os.Args[2:], agent.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	if len(os.Args) == 4 && os.Args[1] == "relay" { // as a ProxyCommand: relay HOST PORT
		os.Exit(relay(net.JoinHostPort(os.Args[2], os.Args[3])))
	}
	os.Exit(m.Run())
}

func relay(addr string) int {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error())
		return 1
	}
	go func() { _, _ = io.Copy(c, os.Stdin); _ = c.(*net.TCPConn).CloseWrite() }()
	_, _ = io.Copy(os.Stdout, c)
	return 0
}
