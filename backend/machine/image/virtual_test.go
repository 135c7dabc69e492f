package image

import (
	"encoding/binary"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// qcowHeader is an image of n bytes whose disk has virtual bytes.
func qcowHeader(virtual uint64, n int) []byte {
	b := make([]byte, n)
	copy(b, qcowMagic)
	binary.BigEndian.PutUint32(b[4:], 3)
	binary.BigEndian.PutUint32(b[20:], 16)
	binary.BigEndian.PutUint64(b[24:], virtual)
	return b
}

func TestTheDiskOfAnImageIsKnownBeforeItIsFetched(t *testing.T) {
	v := newVendor(t, qcowHeader(7<<30, 1<<20))
	c := Cache{Dir: t.TempDir()}
	e := Entry{Name: "box", Arch: "amd64", User: "u", URL: v.URL + "/box.qcow2"}
	for _, ranges := range []bool{true, false} {
		v.mu.Lock()
		v.noRanges = !ranges
		v.mu.Unlock()
		n, err := c.Virtual(t.Context(), e)
		require.NoError(t, err)
		require.Equal(t, int64(7<<30), n)
	}
	left, err := os.ReadDir(c.Dir)
	require.NoError(t, err)
	require.Empty(t, left, "nothing is kept")
	v.mu.Lock()
	v.image, v.noRanges = make([]byte, 3<<20), false
	v.mu.Unlock()
	n, err := c.Virtual(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, int64(3<<20), n, "a raw image is as large as its disk")

	v.mu.Lock()
	v.hook = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusNotFound)
		return true
	}
	v.mu.Unlock()
	_, err = c.Virtual(t.Context(), e)
	require.Error(t, err)

	file := filepath.Join(t.TempDir(), "own")
	require.NoError(t, os.WriteFile(file, qcowHeader(9<<30, 1<<16), 0o600))
	n, err = c.Virtual(t.Context(), Entry{Name: "own", Path: file})
	require.NoError(t, err)
	require.Equal(t, int64(9<<30), n)
	_, err = c.Virtual(t.Context(), Entry{Name: "own", Path: file + "x"})
	require.Error(t, err)
}

func FuzzVirtualOf(f *testing.F) {
	f.Add(qcowHeader(1<<30, 512), int64(1<<20))
	f.Add([]byte("QFI\xfb"), int64(4))
	f.Add([]byte{}, int64(0))
	f.Fuzz(func(t *testing.T, head []byte, total int64) {
		if n, err := virtualOf(head, total); err == nil && n < 0 {
			t.Fatal(strconv.FormatInt(n, 10) + " bytes")
		}
	})
}
