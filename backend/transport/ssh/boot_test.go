package ssh

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/transport/ssh/sshdtest"
)

// In a user's usual home the agent's return after a reboot is arranged without being asked for, and
// goes with the agent, also where somebody removed its program. A user of the test's own has that
// crontab.
func TestAgentComesBackAfterAReboot(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("crontab"); err != nil {
		t.Skip("cron is not installed")
	}
	name, home := sshdtest.NewUser(t, "/bin/sh")
	table := func() string {
		out, _ := exec.Command("crontab", "-u", name, "-l").Output() // it fails where there is none
		return string(out)
	}
	s := sshdtest.Start(t, sshdtest.Options{User: name, Home: home})
	w := newWorld(t, func(o *Options) {
		o.AgentBinary = func(context.Context, string, string) (string, error) { return os.Executable() }
	}).reach(s)
	ctx := w.ctx(nil)
	c := w.conn(ctx, "box")
	for _, gone := range []bool{false, true} {
		info, err := c.EnsureAgent(ctx)
		require.NoError(t, err)
		p, _ := c.agent.known()
		_, unit := os.Stat(filepath.Join(home, ".config", "systemd", "user", "berth-agent.service"))
		if unit != nil {
			require.Contains(t, table(), "@reboot "+p.Program+" ", info.AfterReboot)
			require.Contains(t, info.AfterReboot, "cron")
		}
		if gone {
			require.NoError(t, os.RemoveAll(filepath.Dir(p.Program)))
		}
		require.NoError(t, c.RemoveAgent(ctx))
		require.Empty(t, table())
		require.NoDirExists(t, filepath.Join(home, "state", "berth"))
		eventually(t, "the agent ends", func() bool { return syscall.Kill(info.PID, 0) != nil })
	}
}

// In another home it is not arranged, and why is said.
func TestAgentOfAnotherHomeStaysOutOfTheCrontab(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t, func(o *Options) {
		o.AgentBinary = func(context.Context, string, string) (string, error) { return os.Executable() }
	}).reach(s)
	c := w.conn(w.ctx(nil), "box")
	client := agentClient(t, c)
	info, err := client.Info(w.ctx(nil))
	require.NoError(t, err)
	require.Contains(t, info.AfterReboot, "(HOME="+s.Home+") is not the user's own")
	out, _ := exec.Command("crontab", "-l").Output()
	require.NotContains(t, string(out), s.Home)
}
