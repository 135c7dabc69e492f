package main

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSyncFromAnotherDevice refuses to delete, until it is forced.
func TestSyncFromAnotherDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/a", []byte("a"), 0o600))
	w.ok("create", "vision")
	w.ok("sync", dir, "vision:proj", "--delete")
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs root: to mount a small tmpfs: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH) //nolint:errcheck // the test ends
	require.NoError(t, os.WriteFile(dir+"/other", []byte("b"), 0o600))
	r := w.run("sync", dir, "vision:proj", "--delete")
	require.Equal(t, 5, r.code, r.err)
	require.Contains(t, r.err, "is on another device than last time")
	require.Contains(t, r.err, "1 files and folders of vision:proj would be deleted, and nothing was")
	require.Equal(t, "a\n", w.ok("exec", "vision", "--", "ls", "proj"))
	w.ok("sync", dir, "vision:proj", "--delete", "--force")
	w.ok("sync", dir, "vision:proj", "--delete") // it is last time's now
	require.Equal(t, "other\n", w.ok("exec", "vision", "--", "ls", "proj"))
}
