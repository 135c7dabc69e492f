package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFramesRoundTrip(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	require.NoError(t, w.WriteJSON(Request, Size{Rows: 24, Cols: 80}))
	require.NoError(t, w.WriteWindow(70000))
	n, err := w.DataWriter(Stdout).Write(bytes.Repeat([]byte("x"), 600<<10))
	require.NoError(t, err)
	require.Equal(t, 600<<10, n)

	r := NewReader(&b)
	k, p, err := r.Next()
	require.NoError(t, err)
	require.Equal(t, Request, k)
	require.JSONEq(t, `{"rows":24,"cols":80}`, string(p))
	k, p, err = r.Next()
	require.NoError(t, err)
	require.Equal(t, Window, k)
	g, err := ParseWindow(p)
	require.NoError(t, err)
	require.EqualValues(t, 70000, g)
	total := 0
	for {
		k, p, err = r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		require.Equal(t, Stdout, k)
		total += len(p)
	}
	require.Equal(t, 600<<10, total)
}

func TestTruncatedAndOversized(t *testing.T) {
	_, _, err := NewReader(bytes.NewReader([]byte{'o', 0, 0})).Next()
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, _, err = NewReader(bytes.NewReader([]byte{'o', 0, 0, 0, 9, 'a'})).Next()
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, _, err = NewReader(bytes.NewReader([]byte{'o', 0xff, 0xff, 0xff, 0xff})).Next()
	require.ErrorIs(t, err, ErrTooLarge)
	require.ErrorIs(t, NewWriter(io.Discard).Write(Stdout, make([]byte, MaxPayload+1)), ErrTooLarge)
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{'o', 0, 0, 0, 1, 'a', 'w', 0, 0, 0, 4, 0, 0, 0, 1})
	f.Add([]byte{'R', 0, 0, 0, 2, '{', '}'})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		read := 0
		for {
			_, p, err := r.Next()
			if err != nil {
				if err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrTooLarge) {
					t.Fatalf("unexpected error %v", err)
				}
				return
			}
			read += len(p) + headerLen
			if read > len(b) {
				t.Fatalf("read %d bytes of %d", read, len(b))
			}
		}
	})
}
