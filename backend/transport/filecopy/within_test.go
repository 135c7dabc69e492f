package filecopy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// What is copied within a host is as it was; a thing that can't be copied is an error, and no half of it stays unsaid.
func TestWithin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		base, err := os.MkdirTemp("", "within")
		require.NoError(rt, err)
		defer os.RemoveAll(base)
		defer open(base)
		dir, to := filepath.Join(base, "dir"), filepath.Join(base, "to")
		require.NoError(rt, os.Mkdir(dir, 0o700))
		drawTree(rt, dir, 2)
		_, err = Within(t.Context(), dir, to)
		require.NoError(rt, err)
		want, got := described(rt, dir), described(rt, to)
		delete(want, ".")
		delete(got, ".")
		require.Equal(rt, want, got)
	})
	dir := t.TempDir()
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	_, err := Within(t.Context(), dir, filepath.Join(t.TempDir(), "to"))
	require.ErrorContains(t, err, "fifo")
}
