package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestJobsOnAFullDisk: submits are refused with words, what runs keeps its result, and all goes on once there is room.
func TestJobsOnAFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	require.Equal(t, "1", w.submit("--", "true"))
	require.Zero(t, w.run("job", "wait", "vision", "1").code)
	dir := filepath.Dir(w.journalOf())
	w.killAgent(syscall.SIGTERM)
	b, err := os.ReadFile(filepath.Join(dir, "jobs.db"))
	require.NoError(t, err)
	numbers, err := os.ReadFile(filepath.Join(dir, "numbers"))
	require.NoError(t, err)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,mode=700"); err != nil {
		t.Skipf("needs root: to mount a small tmpfs: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH) //nolint:errcheck // the test ends
	require.NoError(t, os.WriteFile(filepath.Join(dir, "jobs.db"), b, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "numbers"), numbers, 0o600))
	gate := filepath.Join(t.TempDir(), "gate")
	id := w.submit("--", "sh", "-c", "until [ -e '"+gate+"' ]; do sleep 0.05; done; exit 7")
	eventually(t, "it runs", func() bool { return strings.Contains(w.ok("job", "ls", "vision", "--state", "running"), id) })
	fill := filepath.Join(dir, "fill")
	f, err := os.Create(fill)
	require.NoError(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	require.NoError(t, f.Close())
	var r result
	for range 100 { // the journal may have some room of its own
		if r = w.run("run", "vision", "--hold", "--", "echo", strings.Repeat("x", 100_000)); r.code != 0 {
			break
		}
	}
	require.Equal(t, 5, r.code, r.err)
	require.Contains(t, r.err, "disk is full")
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	require.NoError(t, os.Remove(fill))
	require.Equal(t, 7, w.run("job", "wait", "vision", id).code)
	require.Zero(t, w.run("job", "wait", "vision", w.submit("--", "true")).code)
}

// TestAFolderThatDoesNotFit: where the disk here has no room for the copy of a job's folder that is to wait for its
// instance, the submit says so, and nothing of it stays.
func TestAFolderThatDoesNotFit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	w.ok("stop", "vision")
	box := filepath.Join(w.at().State, "outbox")
	require.NoError(t, os.MkdirAll(box, 0o700))
	if err := syscall.Mount("tmpfs", box, "tmpfs", 0, "size=1m,mode=700"); err != nil {
		t.Skipf("needs root: to mount a small tmpfs: %v", err)
	}
	defer syscall.Unmount(box, syscall.MNT_DETACH) //nolint:errcheck // the test ends
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	require.NoError(t, os.WriteFile(large, []byte(strings.Repeat("x", 3<<20)), 0o600))
	r := w.run("run", "vision", "--sync", dir, "--", "true")
	require.Equal(t, 5, r.code, r.err)
	require.Contains(t, r.err, "the disk is full")
	require.Empty(t, r.out)
	left, err := os.ReadDir(box)
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, os.Truncate(large, 1000))
	r = w.run("run", "vision", "--sync", dir, "--", "true")
	require.Zero(t, r.code, r.err)
	w.ok("start", "vision")
	require.Zero(t, w.run("job", "wait", "vision", strings.TrimSpace(r.out)).code)
}
