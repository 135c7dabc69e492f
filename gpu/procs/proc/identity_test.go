package proc

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func start(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return cmd
}

func TestIdentity(t *testing.T) {
	self, err := Self()
	require.NoError(t, err)
	require.True(t, self.Alive())
	require.Equal(t, os.Getpid(), self.PID)
	require.NotEmpty(t, self.Boot)

	cmd := start(t, "sleep", "1000")
	id, err := Identify(cmd.Process.Pid)
	require.NoError(t, err)
	other := id
	other.Start++
	require.False(t, other.Alive(), "another process had this number")
	require.ErrorIs(t, other.Signal(syscall.SIGKILL), ErrGone)
	other = id
	other.Boot = "an earlier one"
	require.False(t, other.Alive())
	require.True(t, id.Alive())
	require.NoError(t, id.Signal(syscall.SIGKILL))
	for deadline := time.Now().Add(2 * time.Minute); id.Alive(); time.Sleep(time.Millisecond) { // a zombie does not live
		require.True(t, time.Now().Before(deadline))
	}
	require.ErrorIs(t, id.Signal(syscall.SIGKILL), ErrGone)
	_ = cmd.Wait()
	_, err = Identify(id.PID)
	require.ErrorIs(t, err, ErrGone)
	require.False(t, Identity{}.Alive())
}

func TestStartedAtIsByTheWallClock(t *testing.T) {
	before := time.Now()
	cmd := start(t, "sleep", "1000")
	id, err := Identify(cmd.Process.Pid)
	require.NoError(t, err)
	require.WithinRange(t, id.StartedAt(), before.Add(-time.Second), time.Now().Add(time.Second)) // ticks are coarse
}
