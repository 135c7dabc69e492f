package ssh

import (
	"testing"

	"github.com/stretchr/testify/require"
	gossh "golang.org/x/crypto/ssh"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

// Servers that know only what is out of use are reached where, and only where, the configuration says so.
func TestAlgorithmsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server sshdtest.Options
		allow  string
		common string // what nothing is in common of, without it
	}{
		"cipher": {sshdtest.Options{Lines: []string{"Ciphers aes128-cbc"}}, "Ciphers +aes128-cbc", "cipher"},
		"key exchange": {sshdtest.Options{Lines: []string{"KexAlgorithms diffie-hellman-group14-sha1"}},
			"KexAlgorithms +diffie-hellman-group14-sha1", "key exchange"},
		"host key": {sshdtest.Options{KeyType: "rsa", Lines: []string{"HostKeyAlgorithms ssh-rsa"}},
			"HostKeyAlgorithms +ssh-rsa", "host key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sshdtest.Start(t, c.server)
			w := newWorld(t, itself).trust(s)
			w.hosts(s.Stanza("plain", w.known), s.Stanza("allowed", w.known, c.allow))
			ctx := w.ctx(nil)
			_, err := w.m.Conn(ctx, "i-plain", backend.SSHTarget{Host: "plain"})
			require.Equal(t, api.CodeUnreachable, api.AsError(err).Code, "%v", err)
			require.Regexp(t, "have no .*"+c.common+" in common", err.Error())
			w.conn(ctx, "allowed")
			// A key that was pinned is accepted by the same algorithms.
			_, err = w.m.Conn(ctx, "i-pinned", backend.SSHTarget{Host: "allowed",
				HostKey: gossh.FingerprintSHA256(s.HostKey.Public)})
			require.NoError(t, err)
		})
	}
}

func TestAlgorithmsThatAreForbidden(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{Lines: []string{"LogLevel DEBUG1"}})
	w := newWorld(t, itself).trust(s)
	w.hosts(s.Stanza("box", w.known, "Ciphers aes256-ctr", "MACs hmac-sha2-512", "KexAlgorithms ecdh-sha2-nistp384"),
		s.Stanza("none", w.known, "MACs umac-64@openssh.com"))
	ctx := w.ctx(nil)
	_, err := w.m.Conn(ctx, "i-none", backend.SSHTarget{Host: "none"})
	require.Equal(t, api.CodeUnreachable, api.AsError(err).Code, "%v", err)
	require.ErrorContains(t, err, `allows the MACs "umac-64@openssh.com" only, none of which Berth knows`)
	w.conn(ctx, "box")
	require.Contains(t, s.Log(), "kex: algorithm: ecdh-sha2-nistp384")
	require.Contains(t, s.Log(), "cipher: aes256-ctr MAC: hmac-sha2-512")
}
