package supervise

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRemoveEntersNoMountPoint(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to mount something")
	}
	data := t.TempDir()
	dir := instance(t, data, "one")
	mnt := filepath.Join(dir, "home", "mnt")
	require.NoError(t, os.Mkdir(mnt, 0o700))
	out, file := precious(t)
	// A bind mount, on the same device most likely, and another file system.
	if err := syscall.Mount(out, mnt, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("can't mount here: %v", err)
	}
	require.ErrorContains(t, RemoveInstance(dir, "one"), "is a mount point")
	require.FileExists(t, file)
	require.FileExists(t, filepath.Join(dir, "home", "deep", "file"))
	require.NoError(t, syscall.Unmount(mnt, 0))
	require.NoError(t, RemoveInstance(dir, "one"))
	require.NoDirExists(t, dir)
}
