package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/queue/sqlfile"
)

func TestFullDiskAndReadOnlyFolder(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=400k"); err != nil {
		t.Skipf("needs root: to mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	path := filepath.Join(dir, "x.db")
	s, err := Open(t.Context(), path)
	require.NoError(t, err)
	n := 0
	for ; n < 10_000; n++ {
		in := instance(fmt.Sprint("i", n), fmt.Sprint("name-", n))
		in.StateReason = strings.Repeat("x", 2000)
		if err = s.Apply(t.Context(), &Change{Instances: []Instance{in}}); err != nil {
			break
		}
	}
	require.Error(t, err)
	require.Contains(t, api.AsError(err).Hint, "full")
	got, err := s.Instances(t.Context())
	require.NoError(t, err)
	require.Len(t, got, n, "all that was acknowledged is there, and nothing else")
	_ = s.Close()

	if os.Getuid() != 0 { // root writes everywhere
		ro := t.TempDir()
		require.NoError(t, os.Chmod(ro, 0o500))
		_, err = Open(t.Context(), filepath.Join(ro, "x.db"))
		require.ErrorIs(t, err, &api.Error{Code: api.CodeStore})
	}
	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	_, err = Open(t.Context(), path)
	require.Error(t, err)
	require.NotEmpty(t, api.AsError(err).Hint, err)
}

// TestNoRoomForTheCopy: a store that can't be copied is not migrated.
func TestNoRoomForTheCopy(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("needs root: to mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	ms, err := migrations()
	require.NoError(t, err)
	path := filepath.Join(dir, "x.db")
	old, err := openWith(t.Context(), path, ms[:1])
	require.NoError(t, err)
	add(t, old, "i1", strings.Repeat("x", 100<<10))
	require.NoError(t, old.Close())
	filler := filepath.Join(dir, "filler")
	_ = os.WriteFile(filler, make([]byte, 1<<20), 0o600) // as much as there is room for
	require.NoError(t, os.Truncate(filler, 400<<10))     // enough for the WAL, not for the copy
	before := files(t, dir)
	_, err = Open(t.Context(), path)
	require.ErrorContains(t, err, "copying, before it is brought from version 1 to 3: ")
	require.Contains(t, api.AsError(err).Hint, "the disk is full")
	require.Equal(t, before, files(t, dir))
	require.NoError(t, os.Remove(filler))
	require.NoError(t, open(t, path).Close())
	require.FileExists(t, sqlfile.CopyPath(path, 1))
}
