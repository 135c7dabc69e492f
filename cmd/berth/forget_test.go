package main

import (
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/transport/ssh/sshdtest"
)

// typed is a client in a terminal.
type typed struct {
	tty  *os.File
	mu   sync.Mutex
	said strings.Builder
	done chan struct{}
}

// inTerminal runs berth in a terminal of its own.
func (w *world) inTerminal(args ...string) *typed {
	w.t.Helper()
	cmd := w.cmd(w.t.Context(), args...)
	tty, err := pty.Start(cmd)
	require.NoError(w.t, err)
	c := &typed{tty: tty, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			c.mu.Lock()
			c.said.Write(buf[:n])
			c.mu.Unlock()
			if err != nil {
				_ = cmd.Wait() // its code is not looked at
				return
			}
		}
	}()
	w.t.Cleanup(func() {
		_ = tty.Close()
		<-c.done
	})
	return c
}

func (c *typed) screen() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said.String()
}

// TestForgetLeavesTheOthersParts: two laptops have adopted one machine. The one that forgets it ends its own terminals;
// the other's, and the agent, go on until that one leaves, too.
func TestForgetLeavesTheOthersParts(t *testing.T) {
	t.Parallel()
	sshdtest.NeedTerminals(t)
	one, s := remoteWorld(t, sshdtest.Options{})
	two := newWorld(t)
	two.env = one.env
	open := func(w *world) *typed {
		w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
		c := w.inTerminal("ssh", "--new", "gpu1")
		_, err := c.tty.WriteString("echo begun-$((40+2))\n")
		require.NoError(t, err)
		eventually(t, "a shell answers", func() bool { return strings.Contains(c.screen(), "begun-42") })
		return c
	}
	first, second := open(one), open(two)
	info := agentInfo(t, one)
	require.Len(t, info.Homes, 2)
	require.Equal(t, 2, info.Terminals)

	r := one.run("rm", "gpu1")
	require.Equal(t, 5, r.code, "it is asked first")
	require.Contains(t, r.err, "uses it, too: its agent stays")
	require.Regexp(t, `1 terminal ends: 1 \(\S*sh, attached\)`, r.err)

	r = one.run("rm", "-y", "gpu1")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "the agent stays on gpu1")
	<-first.done
	_, err := second.tty.WriteString("echo goes-on-$((40+2))\n")
	require.NoError(t, err)
	eventually(t, "the other's shell answers", func() bool { return strings.Contains(second.screen(), "goes-on-42") })
	after := agentInfo(t, two)
	require.Equal(t, info.PID, after.PID)
	require.Equal(t, 1, after.Terminals)
	require.Len(t, after.Homes, 1)

	r = two.run("rm", "gpu1")
	require.Regexp(t, `1 terminal ends: 2 \(`, r.err)
	require.NotContains(t, r.err, "too")
	two.ok("rm", "-y", "gpu1")
	<-second.done
	eventually(t, "the agent has ended", func() bool { return len(processes(t, s.Home)) == 0 })
	require.NoDirExists(t, info.StateDir)
}

// agentInfo is what the agent of gpu1 says of itself.
func agentInfo(t *testing.T, w *world) api.AgentInfo {
	t.Helper()
	w.ok("ls") // the daemon may have ended meanwhile
	h, err := paths.At(w.home)
	require.NoError(t, err)
	c := &api.WorkspaceClient{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", h.DaemonSocket())
	}}
	agent := c.Agent("gpu1")
	defer agent.Close()
	info, err := agent.Info(t.Context())
	require.NoError(t, err)
	return info
}
