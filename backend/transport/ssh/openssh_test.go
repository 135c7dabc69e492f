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

	// A line that breaks is no code 255 of the command's, with and without an agent.
	cat := api.ExecRequest{Argv: []string{"sh", "-c", "echo up; exec cat"}}
	for name, open := range map[string]func(*Conn, *api.AgentClient) *api.Stream{
		"plain": func(c *Conn, _ *api.AgentClient) *api.Stream {
			return stream(t, func(st *api.Stream) { c.ServeExec(ctx, st, cat) })
		},
		"agent": func(_ *Conn, client *api.AgentClient) *api.Stream {
			st, err := client.OpenExec(ctx, cat)
			require.NoError(t, err)
			return st
		},
	} {
		// With the agent's tunnel, the line itself is seen to break, and comes back.
		var c *Conn
		require.NoError(t, poll(func() (err error) { c, err = w.m.Conn(ctx, "i", openSSHTarget("box")); return err }))
		client := &api.AgentClient{Dial: c.Agent}
		_, err := client.Info(ctx)
		require.NoError(t, err)
		_, err = open(c, client).Run(ctx, api.StreamIO{Stdin: newInput2(), Stdout: writer(func([]byte) { s.Disconnect() }),
			Stderr: writer(func([]byte) {})})
		require.Equal(t, api.CodeUnreachable, api.AsError(err).Code, "%s: %v", name, err)
		eventually(t, "the loss is noticed", func() bool { return !c.alive() })
		client.Close()
	}

	_, err = w.m.Conn(ctx, "j", openSSHTarget("closed"))
	require.Equal(t, api.CodeUnreachable, code(t, err))
	_, err = w.m.Conn(ctx, "k", backend.SSHTarget{Host: "box", User: "nobody-here", Transport: "openssh"})
	require.Equal(t, api.CodeAuth, code(t, err))
}
