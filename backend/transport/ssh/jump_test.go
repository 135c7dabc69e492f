package ssh

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

func TestJumpHosts(t *testing.T) {
	t.Parallel()
	outer, inner := sshdtest.Start(t, sshdtest.Options{}), sshdtest.Start(t, sshdtest.Options{})
	a, b := sshdtest.Start(t, sshdtest.Options{}), sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t).trust(outer, inner, a, b)
	w.hosts(outer.Stanza("outer", w.known), inner.Stanza("inner", w.known), a.Stanza("a", w.known,
		"ProxyJump outer,inner"), b.Stanza("b", w.known, "ProxyJump outer,inner"),
		a.Stanza("loop", w.known, "ProxyJump loop"))
	ctx := w.ctx(nil)
	for _, host := range []string{"a", "b"} {
		r := plain(t, ctx, w.conn(ctx, host), api.ExecRequest{Argv: []string{"sh", "-c", "echo $SSH_CONNECTION"}}, "")
		require.NoError(t, r.err)
		require.Contains(t, r.out, "127.0.0.1")
	}
	for name, s := range map[string]*sshdtest.Server{"outer": outer, "inner": inner, "a": a, "b": b} {
		require.Equal(t, 1, strings.Count(s.Log(), "Accepted publickey"), name)
	}
	_, err := w.m.Conn(ctx, "i", backend.SSHTarget{Host: "loop"})
	require.Error(t, err)
	require.Contains(t, err.Error(), "circles")

	// What is behind a jump host goes and comes with it.
	outer.Disconnect()
	eventually(t, "both come back", func() bool {
		return strings.Count(a.Log(), "Accepted publickey") == 2 && strings.Count(b.Log(), "Accepted publickey") == 2 &&
			w.m.State("i-a").Phase == Ready && w.m.State("i-b").Phase == Ready
	})
	require.Equal(t, 2, strings.Count(outer.Log(), "Accepted publickey"))
	w.m.Drop("i-a")
	w.m.Drop("i-b")
	eventually(t, "nothing is left behind the jump host", func() bool {
		return a.Connections() == 0 && b.Connections() == 0
	})
}

func TestJumpHostFaults(t *testing.T) {
	t.Parallel()
	jump, closed := sshdtest.Start(t, sshdtest.Options{}), sshdtest.Start(t, sshdtest.Options{NoForwarding: true})
	s := sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t).trust(jump, closed, s)
	w.hosts(jump.Stanza("jump", w.known), closed.Stanza("closed", w.known), s.Stanza("behind-closed", w.known,
		"ProxyJump closed"),
		stanzaFor(s, w, "nothing-there", sshdtest.FreePort(t), "ProxyJump jump"), s.Stanza("silent", w.known,
			"ProxyJump mute", "ConnectTimeout 1"),
		stanzaFor(s, w, "mute", sshdtest.Mute(t), "ConnectTimeout 1"))
	for host, want := range map[string]string{"behind-closed": "forbids forwarding", "nothing-there": "from the jump host",
		"silent": "no answer within 1s"} {
		_, err := w.m.Conn(w.ctx(nil), "i", backend.SSHTarget{Host: host})
		require.Equal(t, api.CodeUnreachable, code(t, err))
		require.Contains(t, err.Error(), want)
	}
}

func TestProxyCommand(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	exe, err := os.Executable()
	require.NoError(t, err)
	w := newWorld(t).trust(s)
	w.hosts(s.Stanza("box", w.known, fmt.Sprintf("ProxyCommand %s relay %%h %%p", exe)))
	ctx := w.ctx(nil)
	c := w.conn(ctx, "box")
	r := plain(t, ctx, c, api.ExecRequest{Argv: []string{"echo", "through"}}, "")
	require.Equal(t, "through\n", r.out)
	w.m.Drop("i-box")
	eventually(t, "the command ends with the connection", func() bool { return s.Connections() == 0 })
}
