package ssh

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	gossh "golang.org/x/crypto/ssh"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

func TestUnknownHostKeyIsAskedAboutOnce(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	print := gossh.FingerprintSHA256(s.HostKey.Public)
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
	wrong := strings.Replace(s.KnownHosts(), string(gossh.MarshalAuthorizedKey(s.HostKey.Public)),
		string(gossh.MarshalAuthorizedKey(old.Public)), 1)
	require.NoError(t, os.WriteFile(w.known, []byte("# a comment\n"+wrong), 0o600))
	w.hosts(s.Stanza("box", w.known))
	yes := &asked{answers: []string{"yes"}}
	_, err := w.m.Conn(w.ctx(yes), "i", backend.SSHTarget{Host: "box"})
	require.Equal(t, api.CodeRefused, code(t, err))
	require.Contains(t, err.Error(), "line 2 of "+w.known)
	require.Contains(t, err.Error(), gossh.FingerprintSHA256(old.Public))
	require.Empty(t, yes.questions())
	require.Equal(t, Lost, w.m.State("i").Phase)
}

func TestPinnedHostKey(t *testing.T) {
	t.Parallel()
	rsa := sshdtest.NewKey(t, "rsa", "")
	s := sshdtest.Start(t, sshdtest.Options{Lines: []string{"HostKey " + rsa.File}})
	w := newWorld(t)
	w.hosts(s.Stanza("box", w.known))
	for _, k := range []gossh.PublicKey{s.HostKey.Public, rsa.Public} {
		_, err := w.m.Conn(w.ctx(nil), "i"+k.Type(), backend.SSHTarget{Host: "box", HostKey: gossh.FingerprintSHA256(k)})
		require.NoError(t, err, k.Type())
	}
	_, err := w.m.Conn(w.ctx(nil), "i", backend.SSHTarget{Host: "box", HostKey: "SHA256:" + strings.Repeat("A", 43)})
	require.Equal(t, api.CodeRefused, code(t, err))

	// It is kept as an answer of yes is: whoever comes without the fingerprint is let in too.
	b, err := os.ReadFile(w.known)
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(b), "\n"), "one line for each key: %s", b)
	w.conn(w.ctx(nil), "box")
}

// A pinned key that changed is said with where the old one stands, and stays refused for others too.
func TestPinnedHostKeyChanges(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	old := gossh.FingerprintSHA256(s.HostKey.Public)
	w := newWorld(t)
	w.hosts(s.Stanza("box", w.known))
	target := backend.SSHTarget{Host: "box", HostKey: old, PinnedBy: "gpu1"}
	_, err := w.m.Conn(w.ctx(nil), "i", target)
	require.NoError(t, err)
	w.m.Drop("i")
	s.Kill()
	now := sshdtest.Start(t, sshdtest.Options{Port: s.Port, Authorized: []*sshdtest.Key{s.Key}})
	_, err = w.m.Conn(w.ctx(nil), "i", target)
	require.Equal(t, api.CodeRefused, code(t, err))
	require.ErrorContains(t, err, old+" was pinned when gpu1 was adopted")
	require.ErrorContains(t, err, gossh.FingerprintSHA256(now.HostKey.Public))

	_, err = w.m.Conn(w.ctx(nil), "another", backend.SSHTarget{Host: "box"})
	require.Equal(t, api.CodeRefused, code(t, err))
	require.ErrorContains(t, err, "has changed")
}

// Several fingerprints: any may be that of any host on the way.
func TestHostKeysOfJumpHostsToo(t *testing.T) {
	t.Parallel()
	jump, inner := sshdtest.Start(t, sshdtest.Options{KeyType: "ecdsa"}), sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t)
	again := func() { // what was connected stays connected for a while
		config, known := w.config, w.known
		w = newWorld(t)
		w.config, w.known = config, known
		require.NoError(t, os.Remove(known))
	}
	w.hosts(jump.Stanza("jump", w.known), inner.Stanza("behind", w.known, "ProxyJump jump"))
	jumpPrint, innerPrint := gossh.FingerprintSHA256(jump.HostKey.Public), gossh.FingerprintSHA256(inner.HostKey.Public)

	_, err := w.m.Conn(w.ctx(nil), "i", backend.SSHTarget{Host: "behind", HostKey: innerPrint})
	require.Equal(t, api.CodeNoAnswer, code(t, err))
	require.ErrorContains(t, err, "of the jump host jump")
	require.Contains(t, api.AsError(err).Hint, "--host-key "+innerPrint+","+jumpPrint)
	require.NoFileExists(t, w.known)

	_, err = w.m.Conn(w.ctx(nil), "i", backend.SSHTarget{Host: "behind", HostKey: jumpPrint})
	require.Equal(t, api.CodeRefused, code(t, err))
	require.Contains(t, api.AsError(err).Hint, "--host-key "+jumpPrint+","+innerPrint)

	again()
	_, err = w.m.Conn(w.ctx(nil), "i", backend.SSHTarget{Host: "behind", HostKey: innerPrint + "," + jumpPrint})
	require.NoError(t, err)
	b, err := os.ReadFile(w.known)
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(b), "\n"), string(b))

	// A person at hand is asked about the jump host, as without any fingerprint.
	again()
	yes := &asked{answers: []string{"yes"}}
	_, err = w.m.Conn(w.ctx(yes), "j", backend.SSHTarget{Host: "behind", HostKey: innerPrint})
	require.NoError(t, err)
	require.Len(t, yes.questions(), 1)
	require.Contains(t, yes.questions()[0].Text, jumpPrint)
}

func TestStrictHostKeyChecking(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t)
	w.hosts(s.Stanza("strict", w.known, "StrictHostKeyChecking yes"), s.Stanza("new", w.known,
		"StrictHostKeyChecking accept-new"))
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
	require.NoError(t, os.WriteFile(w.known, []byte("@cert-authority * "+string(gossh.MarshalAuthorizedKey(ca.Public))),
		0o600))
	w.conn(w.ctx(nil), "box")

	// A server with a certificate whose authority is not known: the plain key is asked about.
	w = newWorld(t)
	w.hosts(s.Stanza("box", w.known))
	yes := &asked{answers: []string{"yes"}}
	w.conn(w.ctx(yes), "box")
	require.Contains(t, yes.questions()[0].Text, gossh.FingerprintSHA256(s.HostKey.Public))

	require.NoError(t, os.WriteFile(w.known, []byte("@revoked * "+string(gossh.MarshalAuthorizedKey(s.HostKey.Public))),
		0o600))
	w.m.Drop("i-box")
	_, err := w.m.Conn(w.ctx(yes), "i-box", backend.SSHTarget{Host: "box"})
	require.Equal(t, api.CodeRefused, code(t, err))
	require.Contains(t, err.Error(), "revoked")
}
