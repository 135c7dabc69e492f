package atomicfile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWriteReplacesWholeRecords(t *testing.T) {
	type rec struct{ A string }
	path := filepath.Join(t.TempDir(), "r.json")
	require.NoError(t, Write(path, rec{"one"}))
	require.NoError(t, Write(path, rec{"two"}))
	var r rec
	require.NoError(t, Read(path, &r))
	require.Equal(t, "two", r.A)
	fi, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), fi.Mode().Perm())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing temporary is left")

	require.Error(t, Write(path, func() {}), "what can't be encoded")
	require.Error(t, Write(filepath.Join(path, "no", "folder"), rec{}))
	require.NoError(t, Read(path, &r))
	require.Equal(t, "two", r.A)
}

func TestReadRefusesWhatIsNoRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	var v any
	require.ErrorIs(t, Read(path, &v), os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	require.Error(t, Read(path, &v))
	require.NoError(t, os.WriteFile(path, make([]byte, maxRecord+1), 0o600))
	require.ErrorContains(t, Read(path, &v), "no record of Berth")
}
