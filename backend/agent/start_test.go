//go:build linux

package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// One state folder has one agent: who asks for another socket is told of the one that there is.
func TestStartNamesTheRunningAgentsOwnSocket(t *testing.T) {
	o := testOptions(t)
	info, _ := startDetached(t, o)
	other := o
	other.Socket = filepath.Join(filepath.Dir(o.Socket), "other.sock")
	got, err := Start(t.Context(), other, false)
	require.NoError(t, err)
	require.Equal(t, info.PID, got.PID)
	require.Equal(t, o.Socket, got.Socket)
}

// A program from which another agent runs stays.
func TestUninstallLeavesAProgramInUse(t *testing.T) {
	o := testOptions(t)
	b, err := os.ReadFile("/bin/sleep")
	require.NoError(t, err)
	program := filepath.Join(o.BinDir(), "hash", "berth-agent")
	require.NoError(t, os.MkdirAll(filepath.Dir(program), 0o700))
	require.NoError(t, os.WriteFile(program, b, 0o700))
	require.NoError(t, os.MkdirAll(o.State, 0o700))
	other := exec.Command(program, "600")
	require.NoError(t, other.Start())
	defer func() { _ = other.Process.Kill() }()
	require.NoError(t, Uninstall(t.Context(), o, true))
	require.NoDirExists(t, o.State)
	require.FileExists(t, program)
	require.NoError(t, other.Process.Kill())
	_ = other.Wait()
	require.NoError(t, Uninstall(t.Context(), o, true))
	require.NoDirExists(t, filepath.Dir(program))
}

// An agent that listens where another one's folder says is not that one's: it goes on.
func TestUninstallLeavesTheAgentOfAnotherFolder(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	other := o
	other.State = filepath.Join(t.TempDir(), "agent")
	require.NoError(t, os.MkdirAll(other.State, 0o700))
	require.NoError(t, Uninstall(t.Context(), other, true))
	require.NoDirExists(t, other.State)
	after, err := c.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, info.PID, after.PID)
	require.NoError(t, Uninstall(t.Context(), o, true))
	require.NoDirExists(t, o.State)
}
