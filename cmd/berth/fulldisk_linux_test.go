package main

import (
	"os"
	"strings"
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
	w.doctorSays("its file system is full", "no instance can be made", "make room there")
	require.NoError(t, syscall.Mount("", w.home, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	r = w.run("ls")
	require.NotZero(t, r.code)
	require.Contains(t, r.err, "read-only")
	w.doctorSays("read-only", "no instance can be made", "mount it for writing")
}

// doctorSays wants one line that fails, about the state, with these words.
func (w *world) doctorSays(words ...string) {
	w.t.Helper()
	r := w.run("doctor")
	require.Equal(w.t, 1, r.code, r.out+r.err)
	fails := ""
	for line := range strings.Lines(r.out) {
		if strings.HasPrefix(line, "fail") && !strings.Contains(line, "local instances") {
			fails += line
		}
	}
	require.Equal(w.t, 1, strings.Count(fails, "\n"), r.out)
	for _, x := range append(words, "state ") {
		require.Contains(w.t, fails, x)
	}
}
