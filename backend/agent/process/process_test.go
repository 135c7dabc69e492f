package process

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu/procs/proc"
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

func TestEndEndsASessionAndNothingElse(t *testing.T) {
	stubborn := start(t, "sh", "-c", "trap '' TERM HUP INT; sleep 1000 & while :; do sleep 1; done")
	other := start(t, "sleep", "1000")
	set := Set{Session: stubborn.Process.Pid}
	left, err := set.End(t.Context(), 50*time.Millisecond, nil)
	require.NoError(t, err)
	require.Empty(t, left)
	empty, err := set.Empty()
	require.NoError(t, err)
	require.True(t, empty)
	id, err := proc.Identify(other.Process.Pid)
	require.NoError(t, err)
	require.True(t, id.Alive())
}

func TestEndWaitsForWhatEndsGently(t *testing.T) {
	dir := t.TempDir()
	// What the trap runs is a process that a signal would end.
	cmd := start(t, "sh", "-c", `trap 'sh -c "sleep 0.1; echo saved >\"\$0/saved\"" "$0"; exit' TERM
echo > "$0/ready"
while :; do sleep 0.01; done`, dir)
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(dir + "/ready"); err == nil {
			break
		}
		require.True(t, time.Now().Before(deadline))
	}
	begun := time.Now()
	left, err := Set{Session: cmd.Process.Pid}.End(t.Context(), time.Minute, nil)
	require.NoError(t, err)
	require.Empty(t, left)
	require.FileExists(t, dir+"/saved")
	require.Less(t, time.Since(begun), 50*time.Second, "it does not sit out the grace")
}

func TestMarkIsComparedWhole(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	cmd.Env = []string{"X=BERTH_TEST_MARK=one", "BERTH_TEST_MARK=one\n", "BERTH_TEST_MARK2=one",
		"MORE=\nBERTH_TEST_MARK=one"}
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	empty, err := Set{Mark: "BERTH_TEST_MARK=one"}.Empty()
	require.NoError(t, err)
	require.True(t, empty)
	m, err := Set{Mark: "X=BERTH_TEST_MARK=one"}.Members()
	require.NoError(t, err)
	require.Len(t, m, 1)
	require.Equal(t, cmd.Process.Pid, m[0].PID)
}
