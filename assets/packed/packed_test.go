package packed

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

func TestUnpack(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "bin")
	z, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	packed := z.EncodeAll([]byte("#!/bin/sh\necho it runs\n"), nil)
	path, err := Unpack(bytes.NewReader(packed), bin, "berth-thing")
	require.NoError(t, err)
	out, err := exec.Command(path).Output()
	require.NoError(t, err)
	require.Equal(t, "it runs\n", string(out))
	again, err := Unpack(bytes.NewReader(packed), bin, "berth-thing")
	require.NoError(t, err)
	require.Equal(t, path, again)
	_, err = Unpack(bytes.NewReader(packed[:len(packed)-5]), bin, "berth-thing")
	require.ErrorContains(t, err, "berth-thing")
	left, err := filepath.Glob(filepath.Join(bin, ".berth-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
