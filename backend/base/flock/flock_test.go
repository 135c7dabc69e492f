package flock

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		require.NoError(t, err)
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	first, second := open(), open()
	require.NoError(t, Wait(t.Context(), first, func() { t.Fatal("nobody has it") }))
	ctx, cancel := context.WithCancel(t.Context())
	said := 0
	require.ErrorIs(t, Wait(ctx, second, func() { said++; cancel() }), context.Canceled)
	require.Equal(t, 1, said)
	closed := make(chan struct{})
	time.AfterFunc(20*time.Millisecond, func() { _ = first.Close(); close(closed) })
	require.NoError(t, Wait(t.Context(), second, nil), "it goes with the file that has it")
	<-closed
	require.Error(t, Wait(t.Context(), first, nil), "a closed file")
}
