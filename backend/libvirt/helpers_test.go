package libvirt

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"berth/backend"
	"berth/backend/base/paths"
	"berth/backend/libvirt/libvirttest"
)

// bench is a session daemon with a backend on it.
type bench struct {
	*Backend
	d   *libvirttest.Daemon
	key ssh.Signer
	env backend.Env
}

func access(key ssh.Signer) *backend.Access {
	return &backend.Access{AuthorizedKeys: []string{strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey())))}}
}

func newKey(t testing.TB) ssh.Signer {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	s, err := ssh.NewSignerFromKey(priv)
	require.NoError(t, err)
	return s
}

// sizesFile is what tests offer: machines that fit many times into a small host.
const sizesFile = `
[[size]]
name = "t1"
vcpus = 1
memory = "128MiB"
disk = "1GiB"
default = true
`

// environment is what a backend of a daemon is opened with.
func environment(t testing.TB, d *libvirttest.Daemon, catalogue string) backend.Env {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	require.NoError(t, os.MkdirAll(config, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(config, "sizes.toml"), []byte(sizesFile), 0o600))
	if catalogue != "" {
		b, err := os.ReadFile(catalogue)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(config, "images.toml"), b, 0o600))
	}
	return backend.Env{Home: paths.Home{Root: dir, Config: config, State: filepath.Join(dir, "state")},
		HomeID:   "0123456789abcdef",
		Settings: map[string]string{"uri": d.URI, "pool_path": d.Pool, "accel": "emulate"}}
}

func newToken() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return "op-" + hex.EncodeToString(b[:])
}

// again opens another backend on the same daemon and home.
func (b *bench) again(t testing.TB) *Backend {
	t.Helper()
	n, err := New(b.env)
	require.NoError(t, err)
	return n
}

// spec asks for a tiny machine.
func (b *bench) spec(image string) backend.Spec {
	tok := newToken()
	return backend.Spec{Token: tok, Name: "vm-" + tok[len(tok)-6:], Size: "t1", Image: image, Access: access(b.key),
		Tags: map[string]string{backend.TagOp: tok}}
}

func refOf(s backend.Spec) backend.Ref { return backend.Ref{Token: s.Token, Name: s.Name} }

// gone checks that nothing of any machine is left.
func (b *bench) gone(t *testing.T) {
	t.Helper()
	l, err := b.Leftovers(t.Context(), func(string) bool { return false })
	require.NoError(t, err)
	require.Empty(t, l)
	ms, err := b.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, ms)
	files, err := filepath.Glob(filepath.Join(b.d.Pool, "berth-vm.*"))
	require.NoError(t, err)
	require.Empty(t, files)
}
