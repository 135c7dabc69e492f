package ssh

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/transport/ssh/sshdtest"
)

// A host without any tool for hashes: the copy is read back.
func TestCopyToAHostThatCanNotHash(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	for _, tool := range []string{"sh", "cat", "id", "uname", "mkdir", "chmod", "wc", "mv", "rm", "rmdir", "touch", "find",
		"cksum", "ls", "bash"} {
		p, err := exec.LookPath(tool)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(p, filepath.Join(bin, tool)))
	}
	s := sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t, itself).reach(s)
	require.NoError(t, os.WriteFile(filepath.Join(s.Home, ".bashrc"), []byte("PATH="+bin+"\n"), 0o644))
	ctx := w.ctx(nil)
	c := w.conn(ctx, "box")
	out, err := c.script(ctx, "command -v sha256sum shasum openssl || echo none")
	require.NoError(t, err)
	if out != "none\n" {
		t.Skip("the login shell of this user reads no start-up file for commands")
	}
	_, err = c.EnsureAgent(ctx)
	require.NoError(t, err)
	p, _ := c.agent.known()
	copied, err := os.Stat(p.Program)
	require.NoError(t, err)
	own, err := os.Stat(mustExe(t))
	require.NoError(t, err)
	require.Equal(t, own.Size(), copied.Size())
	require.Equal(t, own.ModTime().Unix(), copied.ModTime().Unix(), "a development build counts as built then")
	left, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(p.Program)), ".berth-*"))
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, c.RemoveAgent(ctx))
}

// A disk that is too small for the program: that is why there is no agent, and nothing of it stays.
func TestCopyToAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	mount(t, dir, "mode=755,size=1m")
	s := sshdtest.Start(t, sshdtest.Options{Home: dir})
	w := newWorld(t, itself).reach(s)
	ctx := w.ctx(nil)
	_, err := w.conn(ctx, "box").EnsureAgent(ctx)
	var none *backend.AgentUnavailable
	require.ErrorAs(t, err, &none)
	require.Contains(t, none.Reason, "copying it there failed")
	require.Contains(t, none.Reason, "No space left")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}
