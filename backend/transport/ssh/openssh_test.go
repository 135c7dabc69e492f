package ssh

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

func openSSHTarget(host string) backend.SSHTarget {
	return backend.SSHTarget{Host: host, Transport: "openssh"}
}

func TestTheUsersOwnSSH(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("no ssh on this machine: install openssh-client")
	}
	s := sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t, itself).trust(s)
	w.hosts(s.Stanza("box", w.known), stanzaFor(s, w, "closed", sshdtest.FreePort(t)), s.Stanza("stranger", w.known,
		"User nobody-here"))
	ctx := w.ctx(nil)
	c, err := w.m.Conn(ctx, "i", openSSHTarget("box"))
	require.NoError(t, err)
	r := plain(t, ctx, c, api.ExecRequest{Argv: []string{"sh", "-c", "cat; exit 4"}}, "in")
	require.NoError(t, r.err)
	require.Equal(t, "in", r.out)
	require.Equal(t, 4, r.status.Code)
	client := agentClient(t, c)
	require.Equal(t, "x", run(t, ctx, client, "printf", "x").out)
	_, state := c.Info()
	require.Equal(t, "dial", state.Transport)

	_, err = w.m.Conn(ctx, "j", openSSHTarget("closed"))
	require.Equal(t, api.CodeUnreachable, code(t, err))
	_, err = w.m.Conn(ctx, "k", backend.SSHTarget{Host: "box", User: "nobody-here", Transport: "openssh"})
	require.Equal(t, api.CodeAuth, code(t, err))
}
