package remote

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/remote/sshdtest"
)

func TestUnknownHostKeyIsAskedAboutOnce(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	print := ssh.FingerprintSHA256(s.HostKey.Public)
	w := newWorld(t)
	w.hosts(s.Stanza("box", w.known, "HashKnownHosts yes"))

	_, err := w.m.Conn(w.ctx(nil), "i", backend.SSHTarget{Host: "box"})
	require.Equal(t, api.CodeNoAnswer, code(t, err))
	require.Contains(t, err.Error(), print)
	require.Equal(t, NeedsYou, w.m.State("i").Phase)
	require.Equal(t, "host key", w.m.State("i").Reason)

	no := &asked{answers: []string{"no"}}
	_, err = w.m.Conn(w.ctx(no), "i", backend.SSHTarget{Host: "box"})
	require.ErrorIs(t, err, backend.ErrRefused)
	require.NoFileExists(t, w.known)

	yes := &asked{answers: []string{"yes"}}
	_, err = w.m.Conn(w.ctx(yes), "i", backend.SSHTarget{Host: "box"})
	require.NoError(t, err)
	q := yes.questions()
	require.Len(t, q, 1)
	require.Equal(t, "confirm", q[0].Kind)
	require.Contains(t, q[0].Text, print)
	b, err := os.ReadFile(w.known)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(b), "|1|"), string(b))

	w2 := newWorld(t)
	w2.config = w.config
	_, err = w2.m.Conn(w2.ctx(nil), "i", backend.SSHTarget{Host: "box"})
	require.NoError(t, err, "it is known now")
}

func TestChangedHostKeyIsRefused(t *testing.T) {
	t.Parallel()
	s, old := sshdtest.Start(t, sshdtest.Options{}), sshdtest.NewKey(t, "ed25519", "")
	w := newWorld(t)
	wrong := strings.Replace(s.KnownHosts(), string(ssh.MarshalAuthorizedKey(s.HostKey.Public)), string(ssh.MarshalAuthorizedKey(old.Public)), 1)
	require.NoError(t, os.WriteFile(w.known, []byte("# a comment\n"+wrong), 0o600))
	w.hosts(s.Stanza("box", w.known))
	yes := &asked{answers: []string{"yes"}}
	_, err := w.m.Conn(w.ctx(yes), "i", backend.SSHTarget{Host: "box"})
	require.Equal(t, api.CodeRefused, code(t, err))
	require.Contains(t, err.Error(), "line 2 of "+w.known)
	require.Contains(t, err.Error(), ssh.FingerprintSHA256(old.Public))
	require.Empty(t, yes.questions())
	require.Equal(t, Lost, w.m.State("i").Phase)
}

func TestPinnedHostKey(t *testing.T) {
	t.Parallel()
	rsa := sshdtest.NewKey(t, "rsa", "")
	s := sshdtest.Start(t, sshdtest.Options{Lines: []string{"HostKey " + rsa.File}})
	w := newWorld(t)
	w.hosts(s.Stanza("box", w.known))
	for _, k := range []ssh.PublicKey{s.HostKey.Public, rsa.Public} {
		_, err := w.m.Conn(w.ctx(nil), "i"+k.Type(), backend.SSHTarget{Host: "box", HostKey: ssh.FingerprintSHA256(k)})
		require.NoError(t, err, k.Type())
	}
	_, err := w.m.Conn(w.ctx(nil), "i", backend.SSHTarget{Host: "box", HostKey: "SHA256:" + strings.Repeat("A", 43)})
	require.Equal(t, api.CodeRefused, code(t, err))
	require.NoFileExists(t, w.known, "a pinned key needs no file")
}

func TestStrictHostKeyChecking(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t)
	w.hosts(s.Stanza("strict", w.known, "StrictHostKeyChecking yes"), s.Stanza("new", w.known, "StrictHostKeyChecking accept-new"))
	yes := &asked{answers: []string{"yes"}}
	_, err := w.m.Conn(w.ctx(yes), "i", backend.SSHTarget{Host: "strict"})
	require.Equal(t, api.CodeRefused, code(t, err))
	w.conn(w.ctx(yes), "new")
	w.conn(w.ctx(yes), "strict")
	require.Empty(t, yes.questions())
}

func TestHostCertificate(t *testing.T) {
	t.Parallel()
	ca := sshdtest.NewKey(t, "ed25519", "")
	s := sshdtest.Start(t, sshdtest.Options{HostCA: ca, Principals: []string{"127.0.0.1"}})
	w := newWorld(t)
	w.hosts(s.Stanza("box", w.known))
	require.NoError(t, os.WriteFile(w.known, []byte("@cert-authority * "+string(ssh.MarshalAuthorizedKey(ca.Public))), 0o600))
	w.conn(w.ctx(nil), "box")

	// A server with a certificate whose authority is not known: the plain key is asked about.
	w = newWorld(t)
	w.hosts(s.Stanza("box", w.known))
	yes := &asked{answers: []string{"yes"}}
	w.conn(w.ctx(yes), "box")
	require.Contains(t, yes.questions()[0].Text, ssh.FingerprintSHA256(s.HostKey.Public))

	require.NoError(t, os.WriteFile(w.known, []byte("@revoked * "+string(ssh.MarshalAuthorizedKey(s.HostKey.Public))), 0o600))
	w.m.Drop("i-box")
	_, err := w.m.Conn(w.ctx(yes), "i-box", backend.SSHTarget{Host: "box"})
	require.Equal(t, api.CodeRefused, code(t, err))
	require.Contains(t, err.Error(), "revoked")
}
