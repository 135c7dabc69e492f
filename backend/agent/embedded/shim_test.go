package embedded

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// TestUnpack: a program is unpacked once, and found from then on.
func TestUnpack(t *testing.T) {
	z, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	packed := z.EncodeAll([]byte("#!/bin/sh\n"), nil)
	bin := filepath.Join(t.TempDir(), "bin")
	path, err := unpack(packed, bin)
	require.NoError(t, err)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "#!/bin/sh\n", string(b))
	before, err := os.Stat(path)
	require.NoError(t, err)
	again, err := unpack(packed, bin)
	require.NoError(t, err)
	require.Equal(t, path, again)
	after, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after), "it was written again")
	_, err = unpack(packed[:len(packed)-1], filepath.Join(t.TempDir(), "bin"))
	require.Error(t, err, "a build that is cut off")
}
