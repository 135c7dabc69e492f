package proc

import (
	"encoding/json"
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

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 2*time.Minute, time.Millisecond, what)
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
	require.Equal(t, Same, id.Look())
	require.NoError(t, id.Signal(syscall.SIGKILL))
	eventually(t, "a zombie does not live", func() bool { return id.Look() == Gone })
	require.ErrorIs(t, id.Signal(syscall.SIGKILL), ErrGone)
	st, err := ReadStat(id.PID)
	require.NoError(t, err)
	require.Equal(t, id, st.Identity(), "a zombie still has its name")
	_ = cmd.Wait()
	_, err = Identify(id.PID)
	require.ErrorIs(t, err, ErrGone)
	require.Equal(t, Gone, Identity{}.Look())
}

// TestLook puts the records to a process that runs which others could have left behind.
func TestLook(t *testing.T) {
	id, err := Identify(start(t, "sleep", "1000").Process.Pid)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		change func(*Identity)
		want   State
	}{
		"the process itself":                {func(*Identity) {}, Same},
		"as an older build wrote it":        {func(id *Identity) { id.Space = "" }, Same},
		"its number was another's":          {func(id *Identity) { id.Start-- }, Gone},
		"before a reboot":                   {func(id *Identity) { id.Boot = "an earlier one" }, Gone},
		"before a reboot, elsewhere":        {func(id *Identity) { id.Boot, id.Space = "an earlier one", "pid:[1]" }, Gone},
		"of another name space":             {func(id *Identity) { id.Space = "pid:[1]" }, Unknown},
		"of a boot that was not told":       {func(id *Identity) { id.Boot = unknownBoot }, Unknown},
		"another's, of a boot not told":     {func(id *Identity) { id.Boot, id.Start = unknownBoot, 1 }, Gone},
		"a number that nobody has":          {func(id *Identity) { id.PID = 1<<22 + 1 }, Gone},
		"no number":                         {func(id *Identity) { id.PID = 0 }, Gone},
		"a number that means a whole group": {func(id *Identity) { id.PID = -1 }, Gone},
	} {
		other := id
		c.change(&other)
		require.Equal(t, c.want, other.Look(), name)
		require.Equal(t, c.want == Same, other.Alive(), name)
		switch err := other.Signal(syscall.SIGCONT); c.want {
		case Same:
			require.NoError(t, err, name)
		case Gone:
			require.ErrorIs(t, err, ErrGone, name)
		default:
			require.ErrorIs(t, err, ErrUnknown, name)
		}
	}
}

// TestStoredIdentity reads what the release before wrote, and writes what it could read.
func TestStoredIdentity(t *testing.T) {
	var id Identity
	const stored = `{"pid":4242,"start":987654,"boot_id":"5f0e9a52-6f0b-4a86-9e0a-2b3d4c5e6f70"}`
	require.NoError(t, json.Unmarshal([]byte(stored), &id))
	require.Equal(t, Identity{PID: 4242, Start: 987654, Boot: "5f0e9a52-6f0b-4a86-9e0a-2b3d4c5e6f70"}, id)
	b, err := json.Marshal(id)
	require.NoError(t, err)
	require.JSONEq(t, stored, string(b))
	again := id
	again.Space = "pid:[4026531836]"
	require.True(t, id.Is(again))
	again.Start++
	require.False(t, id.Is(again))
}

func TestStartedAtIsByTheWallClock(t *testing.T) {
	before := time.Now()
	id, err := Identify(start(t, "sleep", "1000").Process.Pid)
	require.NoError(t, err)
	require.WithinRange(t, id.StartedAt(), before.Add(-time.Second), time.Now().Add(time.Second)) // ticks are coarse
}
