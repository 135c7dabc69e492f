package pipe

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGrow: a pipe holds more afterwards, and a file is left as it is.
func TestGrow(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	before := Room(r)
	Grow(r)
	require.GreaterOrEqual(t, Room(w), before)
	if Room(r) == before {
		t.Log("this user has used up the system's limit (fs.pipe-user-pages-soft)")
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	defer f.Close()
	Grow(f)
	require.Equal(t, Size, Room(f))
}
