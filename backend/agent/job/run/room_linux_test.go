package run

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

// A run begins only where its disks have room for what the same command printed before.
func TestRoomForALog(t *testing.T) {
	x := &run{Run: queue.Run{Dir: t.TempDir(), Spec: queue.Spec{ExpectLog: 1 << 60}}}
	cwd := t.TempDir()
	require.ErrorContains(t, x.room(cwd), "this command printed 1.0 EiB before")
	x.Spec.LogLimit = 1 << 20
	require.NoError(t, x.room(cwd))
}

func TestRoomOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("needs root: to mount a small tmpfs: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH) //nolint:errcheck // the test ends
	x := &run{Run: queue.Run{Dir: dir}}
	require.NoError(t, x.room(dir))
	large := filepath.Join(dir, "large")
	require.NoError(t, os.WriteFile(large, make([]byte, 8<<20-64<<10), 0o600))
	require.ErrorContains(t, x.room(dir), "the disk of its log ("+dir+") has ")
	x.Dir = t.TempDir()
	require.ErrorContains(t, x.room(dir), "the disk of its working directory ("+dir+") has ")
	require.NoError(t, os.Truncate(large, 1<<20))
	require.NoError(t, x.room(dir))
}
