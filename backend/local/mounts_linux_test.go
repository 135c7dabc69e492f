package local

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDeleteThatFailsSaysWhyAndCanBeRepeated(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to mount something")
	}
	b := open(t, nil)
	ref := stopped(t, b, "one")
	mnt := filepath.Join(b.homeOf(ref.ID), "mnt")
	require.NoError(t, os.Mkdir(mnt, 0o700))
	if err := syscall.Mount("tmpfs", mnt, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("can't mount here: %v", err)
	}
	require.NoError(t, b.Delete(t.Context(), ref))
	eventually(t, "the failure", func() bool {
		m, err := b.Get(t.Context(), ref)
		return err == nil && strings.Contains(m.Reason, "is a mount point")
	})
	require.NoError(t, syscall.Unmount(mnt, 0))
	require.NoError(t, b.Delete(t.Context(), ref))
	waitGone(t, b, ref)
}
