package ssh

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	gossh "golang.org/x/crypto/ssh"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

// The jump host is signed in to as the user of the machine behind it: ProxyJump %r@jump.
func TestProxyJumpHoldsTokens(t *testing.T) {
	t.Parallel()
	jump, behind := sshdtest.Start(t, sshdtest.Options{}), sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t).trust(jump, behind)
	stanza := strings.Replace(jump.Stanza("jump", w.known), "User "+jump.User, "User somebody-else", 1)
	require.Contains(t, stanza, "somebody-else")
	w.hosts(stanza, behind.Stanza("gpu9", w.known, "ProxyJump %r@jump"),
		behind.Stanza("bad", w.known, "ProxyJump %u@jump"))
	ctx := w.ctx(nil)
	c := w.conn(ctx, "gpu9")
	require.Equal(t, jump.User, c.via.t.host.User)
	require.Equal(t, 1, strings.Count(jump.Log(), "Accepted publickey for "+jump.User))
	_, err := w.m.Conn(ctx, "i-bad", backend.SSHTarget{Host: "bad"})
	require.Equal(t, api.CodeUsage, code(t, err))
	require.ErrorContains(t, err, "%u")
	require.Zero(t, strings.Count(behind.Log(), "Accepted publickey")-1, "it is not reached by another way")
}

// KnownHostsCommand says which keys a host has, beside the files.
func TestKnownHostsCommand(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	dir := t.TempDir()
	asked := filepath.Join(dir, "asked")
	command := func(name, body string) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, []byte("#!/bin/sh\n"+body+"\n"), 0o755))
		return "KnownHostsCommand " + p + " %I %H %t %K"
	}
	key := strings.TrimSpace(string(gossh.MarshalAuthorizedKey(s.HostKey.Public)))
	other := strings.TrimSpace(string(gossh.MarshalAuthorizedKey(sshdtest.NewKey(t, "ed25519", "").Public)))
	name := fmt.Sprintf("[127.0.0.1]:%d", s.Port)
	w := newWorld(t)
	w.hosts(
		s.Stanza("good", w.known, "StrictHostKeyChecking yes", command("good", `echo "$@" >>`+asked+`; echo "$2 `+key+`"`)),
		s.Stanza("silent", w.known, "StrictHostKeyChecking yes", command("silent", "true")),
		s.Stanza("other", w.known, command("other", `echo "$2 `+other+`"`)),
		s.Stanza("revoked", w.known, command("revoked", `echo "$2 `+key+`"; echo "@revoked * `+key+`"`)),
		s.Stanza("fails", w.known, "StrictHostKeyChecking no", command("fails", "echo no directory >&2; exit 4")),
		s.Stanza("late", w.known, "StrictHostKeyChecking no",
			command("late", `[ "$1" = ORDER ] || { echo not now >&2; exit 5; }`)))
	ctx := w.ctx(nil)
	w.conn(ctx, "good")
	b, err := os.ReadFile(asked)
	require.NoError(t, err)
	fields := strings.Fields(key)
	require.Equal(t, "ORDER "+name+" NONE NONE\nHOSTNAME "+name+" "+fields[0]+" "+fields[1]+"\n", string(b))
	require.NoFileExists(t, w.known)
	for host, why := range map[string]string{"silent": "is not known, and StrictHostKeyChecking is yes",
		"other": "has changed", "revoked": "was revoked", "fails": "exit status 4: no directory",
		"late": "exit status 5: not now"} {
		w.m.Drop("i-good") // its connection is that of all names for one machine
		_, err := w.m.Conn(ctx, "i-"+host, backend.SSHTarget{Host: host})
		require.Equal(t, api.CodeRefused, code(t, err), host)
		require.ErrorContains(t, err, why)
		require.NotContains(t, api.AsError(err).Hint, "ssh-keygen -R", "there is no file to mend")
	}
}
