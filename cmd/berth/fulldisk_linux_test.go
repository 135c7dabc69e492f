package main

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFullDiskForTheHome keeps the home on a file system that is full, then one that is read-only.
func TestFullDiskForTheHome(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, os.MkdirAll(w.home, 0o700))
	if err := syscall.Mount("tmpfs", w.home, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs root: to mount a small tmpfs: %v", err)
	}
	defer syscall.Unmount(w.home, syscall.MNT_DETACH) //nolint:errcheck // the test ends
	r := w.run("ls")
	require.NotZero(t, r.code)
	require.Contains(t, r.err, "full")
	require.NoError(t, syscall.Mount("", w.home, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	r = w.run("ls")
	require.NotZero(t, r.code)
	require.Contains(t, r.err, "read-only")
}
