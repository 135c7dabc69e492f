package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestExecOfAnInputForWritingOnly is refused before anything runs; the null device is empty however it is opened.
func TestExecOfAnInputForWritingOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "here")
	ran := filepath.Join(t.TempDir(), "ran")
	with := func(path string) (int, string) {
		in, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
		require.NoError(t, err)
		defer in.Close()
		cmd := w.cmd(t.Context(), "exec", "here", "--", "sh", "-c", "cat; echo x >>"+ran)
		var said bytes.Buffer
		cmd.Stdin, cmd.Stderr = in, &said
		_ = cmd.Run() // its code is looked at
		return cmd.ProcessState.ExitCode(), said.String()
	}
	code, said := with(filepath.Join(t.TempDir(), "f"))
	require.Equal(t, 2, code, said)
	require.Contains(t, said, "berth: standard input is open for writing only")
	require.NoFileExists(t, ran)
	code, said = with(os.DevNull)
	require.Zero(t, code, said)
	require.FileExists(t, ran)
}
