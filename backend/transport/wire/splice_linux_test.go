package wire

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/base/pipe"
)

// TestSplice: what waits in a pipe comes out of the stream whole and in order, behind what was read of it, and whatever
// the sizes of the pieces.
func TestSplice(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer l.Close()
	out, err := net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	defer out.Close()
	in, err := l.Accept()
	require.NoError(t, err)
	defer in.Close()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	pipe.Grow(r)

	const total = 20 << 20
	src := rand.NewChaCha8([32]byte{1})
	sent := sha256.New()
	go func() {
		defer w.Close()
		left := total
		for left > 0 {
			b := make([]byte, min(1+rand.IntN(200<<10), left))
			_, _ = src.Read(b)
			sent.Write(b)
			if _, err := w.Write(b); err != nil {
				return
			}
			left -= len(b)
		}
	}()
	wr := NewWriter(out)
	spliced := 0
	failed := make(chan error, 1)
	go func() {
		defer out.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := r.Read(buf)
			if err == io.EOF {
				failed <- nil
				return
			}
			if more := min(wr.Splices(r), MaxPayload-n); err == nil && more > 0 {
				spliced += more
				err = wr.WriteWith(Stdin, buf[:n], r, more)
			} else if err == nil {
				err = wr.Write(Stdin, buf[:n])
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	got, n := sha256.New(), 0
	for rd := NewReader(in); ; {
		k, p, err := rd.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		require.Equal(t, Stdin, k)
		got.Write(p)
		n += len(p)
	}
	require.NoError(t, <-failed)
	require.Equal(t, total, n)
	require.Equal(t, sent.Sum(nil), got.Sum(nil))
	require.Positive(t, spliced, "nothing went by splice")

	f, err := os.Open(os.Args[0])
	require.NoError(t, err)
	defer f.Close()
	require.Zero(t, wr.Splices(f), "a file is no pipe")
}
