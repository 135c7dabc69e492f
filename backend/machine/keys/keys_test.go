package keys

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

func TestTheKeyIsMadeOnceAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "workspace")
	got := make([]string, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			k, err := Open(path)
			if err == nil {
				got[i] = k.Authorized()
			}
		})
	}
	wg.Wait()
	for _, g := range got {
		require.NotEmpty(t, g)
		require.Equal(t, got[0], g, "two processes have one key")
	}
	fi, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), fi.Mode().Perm())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1)

	require.NoError(t, os.Chmod(path, 0o644))
	_, err = Open(path)
	require.ErrorContains(t, err, "can be read by others")
	require.NoError(t, os.WriteFile(path, []byte("what?"), 0o600))
	require.NoError(t, os.Chmod(path, 0o600))
	_, err = Open(path)
	require.ErrorContains(t, err, "can't be read")
}

func TestHostKeysAreOfTheirToken(t *testing.T) {
	k, err := Open(filepath.Join(t.TempDir(), "k"))
	require.NoError(t, err)
	private, public, print, err := k.HostKey("op-1")
	require.NoError(t, err)
	again, _, _, err := k.HostKey("op-1")
	require.NoError(t, err)
	a, err := ssh.ParsePrivateKey([]byte(private))
	require.NoError(t, err)
	b, err := ssh.ParsePrivateKey([]byte(again))
	require.NoError(t, err)
	require.Equal(t, a.PublicKey().Marshal(), b.PublicKey().Marshal())
	require.Equal(t, print, ssh.FingerprintSHA256(a.PublicKey()))
	p, _, _, _, err := ssh.ParseAuthorizedKey([]byte(public))
	require.NoError(t, err)
	require.Equal(t, a.PublicKey().Marshal(), p.Marshal())
	_, other, _, err := k.HostKey("op-2")
	require.NoError(t, err)
	require.NotEqual(t, public, other)
	o, err := Open(filepath.Join(t.TempDir(), "k"))
	require.NoError(t, err)
	_, foreign, _, err := o.HostKey("op-1")
	require.NoError(t, err)
	require.NotEqual(t, public, foreign, "another workspace has other keys")
}

func TestUsersKeys(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	require.Empty(t, Users(context.Background(), map[string]string{"SSH_AUTH_SOCK": "/no/such"}))
	dir := filepath.Join(home, ".ssh")
	require.NoError(t, os.Mkdir(dir, 0o700))
	k, err := Open(filepath.Join(dir, "id"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "id.pub"), []byte(k.Authorized()+"\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "odd.pub"), []byte("not a key"), 0o644))
	require.Len(t, Users(context.Background(), nil), 1)
}
