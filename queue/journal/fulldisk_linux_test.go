package journal

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

// TestAFullDiskIsToldOfTheNumbersToo: also where it is their file that has no room.
func TestAFullDiskIsToldOfTheNumbersToo(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=600k"); err != nil {
		t.Skipf("needs root: to mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	j := open(t, dir)
	commit(t, j, job(1))
	fill := filepath.Join(dir, "fill")
	f, err := os.Create(fill)
	require.NoError(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	require.NoError(t, f.Close())
	require.ErrorIs(t, j.Commit(t.Context(), []queue.Change{job(2 * block)}), ErrFull)
	require.NoError(t, os.Remove(fill))
	commit(t, j, job(2*block))
}
