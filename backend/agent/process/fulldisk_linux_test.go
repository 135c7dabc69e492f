package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAFullDisk fills the disk under a process's folder: how it ends is written nevertheless, and where there was no
// room to promise, nothing starts.
func TestAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to mount a small file system")
	}
	parent := t.TempDir()
	if err := syscall.Mount("tmpfs", parent, "tmpfs", 0, "size=256k,mode=0700"); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(parent, syscall.MNT_DETACH) })
	j := newJob(t, parent, "1", `echo up; while ! [ -e go ]; do sleep 0.01; done; exit 9`)
	require.NoError(t, j.start(t.Context()))
	j.says(t, "up")
	require.NoError(t, os.WriteFile(filepath.Join(parent, "go-"), nil, 0o600))
	next := newJob(t, parent, "2", ":")
	fill := exec.Command("sh", "-c", "cat /dev/zero >"+filepath.Join(parent, "ballast"))
	require.Error(t, fill.Run())
	require.ErrorContains(t, os.WriteFile(filepath.Join(parent, "x"), []byte("x"), 0o600), "no space left")
	require.NoError(t, os.Rename(filepath.Join(parent, "go-"), filepath.Join(parent, "go")))
	require.Equal(t, 9, j.becomes(t, Ended).Exit.Code)
	require.ErrorContains(t, next.start(t.Context()), "no space left")
	require.Equal(t, Unstarted, next.fate(t).Fate)

	// Without a reserved room the status waits for some.
	dir := filepath.Join(parent, "3")
	require.NoError(t, os.Mkdir(dir, 0o700))
	file, err := os.Create(filepath.Join(dir, exitName))
	require.NoError(t, err)
	k := &Kept{exit: exitFile{File: file}}
	require.ErrorContains(t, k.Settle(ended), "could not be written")
	_, ok, _ := ReadExit(dir)
	require.False(t, ok)
	insisted := make(chan error, 1)
	go func() { insisted <- k.Insist(ended, nil) }()
	require.NoError(t, os.Remove(filepath.Join(parent, "ballast")))
	require.NoError(t, <-insisted)
	x, ok, err := ReadExit(dir)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, ended, x)
}

// TestRoomThatCannotBePromised has a file system without fallocate: blank lines take the room.
func TestRoomThatCannotBePromised(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to mount a file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("ramfs", dir, "ramfs", 0, "mode=0700"); err != nil {
		t.Skipf("mounting a file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	f, err := reserveExit(dir)
	require.NoError(t, err)
	fi, err := f.Stat()
	require.NoError(t, err)
	require.EqualValues(t, exitRoom, fi.Size())
	_, ok, err := ReadExit(dir)
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, f.write(ended))
	x, ok, err := ReadExit(dir)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, ended, x)
}
