package ssh

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

// A program that somebody removed does not mean that nothing is left.
func TestRemoveAgentWhoseProgramIsGone(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t, itself).trust(s)
	w.hosts(s.Stanza("box", w.known))
	ctx := w.ctx(nil)
	c := w.conn(ctx, "box")
	info, err := c.EnsureAgent(ctx)
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(s.Home, "state", "berth", "bin")))
	require.NoError(t, c.RemoveAgent(ctx))
	eventually(t, "the agent ends", func() bool { return syscall.Kill(info.PID, 0) != nil })
	require.NoDirExists(t, filepath.Join(s.Home, "state", "berth"))

	// With nothing left at all, there is nothing to do.
	info, err = c.EnsureAgent(ctx)
	require.NoError(t, err)
	p, _ := c.agent.known()
	require.NoError(t, syscall.Kill(info.PID, syscall.SIGKILL))
	require.NoError(t, os.RemoveAll(filepath.Join(s.Home, "state", "berth")))
	require.NoError(t, os.Remove(p.Socket))
	require.NoError(t, c.RemoveAgent(ctx))
	require.NoDirExists(t, filepath.Join(s.Home, "state", "berth"))
}

// Where the program can't come back, the agent is ended over its socket, and what stays is said.
func TestRemoveAgentSaysWhatIsLeft(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	gone := false
	w := newWorld(t, itself, func(o *Options) {
		binary := o.AgentBinary
		o.AgentBinary = func(ctx context.Context, goos, goarch string) (string, error) {
			if gone {
				return "", errors.New("there is no agent in this build")
			}
			return binary(ctx, goos, goarch)
		}
	}).trust(s)
	w.hosts(s.Stanza("box", w.known))
	ctx := w.ctx(nil)
	c := w.conn(ctx, "box")
	info, err := c.EnsureAgent(ctx)
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(s.Home, "state", "berth", "bin")))
	gone = true
	err = c.RemoveAgent(ctx)
	require.ErrorContains(t, err, "no agent in this build")
	require.Contains(t, api.AsError(err).Hint, info.StateDir)
	eventually(t, "the agent ends", func() bool { return syscall.Kill(info.PID, 0) != nil })
}

// Two homes of one user share the program, not the agent: one that goes leaves it to the other.
func TestRemoveAgentLeavesASharedProgram(t *testing.T) {
	t.Parallel()
	one := sshdtest.Start(t, sshdtest.Options{})
	two := sshdtest.Start(t, sshdtest.Options{Home: one.Home, Lines: []string{
		"SetEnv BERTH_HOME=" + filepath.Join(t.TempDir(), "own") + " HOME=" + one.Home + " XDG_STATE_HOME=" +
			filepath.Join(one.Home, "state")}})
	w := newWorld(t, itself).trust(one, two)
	w.hosts(one.Stanza("one", w.known), two.Stanza("two", w.known))
	ctx := w.ctx(nil)
	c1, c2 := w.conn(ctx, "one"), w.conn(ctx, "two")
	first, err := c1.EnsureAgent(ctx)
	require.NoError(t, err)
	client := agentClient(t, c2)
	second, err := client.Info(ctx)
	require.NoError(t, err)
	require.NotEqual(t, first.PID, second.PID)
	p1, _ := c1.agent.known()
	p2, _ := c2.agent.known()
	require.Equal(t, p1.Program, p2.Program)

	require.NoError(t, c1.RemoveAgent(ctx))
	require.FileExists(t, p2.Program)
	_, err = net.Dial("unix", p1.Socket)
	require.Error(t, err)
	require.Equal(t, "x", run(t, ctx, client, "printf", "x").out)
	require.NoError(t, c2.RemoveAgent(ctx))
	require.NoFileExists(t, p2.Program)
}

// Two homes of one user that have to turn to the same folder outside: each has an agent of its own.
func TestTwoHomesOutsideThemselves(t *testing.T) {
	t.Parallel()
	base := "/var/tmp/berth-" + strconv.Itoa(os.Getuid())
	pids := map[int]bool{}
	for range 2 {
		dir := t.TempDir()
		require.NoError(t, os.Chmod(dir, 0o755))
		mount(t, dir, "mode=755,ro")
		s := sshdtest.Start(t, sshdtest.Options{Home: dir})
		w := newWorld(t, itself).trust(s)
		w.hosts(s.Stanza("box", w.known))
		ctx := w.ctx(nil)
		c := w.conn(ctx, "box")
		client := agentClient(t, c)
		info, err := client.Info(ctx)
		require.NoError(t, err)
		require.Equal(t, dir, info.Home)
		pids[info.PID] = true
		p, _ := c.agent.known()
		require.Contains(t, p.Program, base+"/home-")
		t.Cleanup(func() { require.NoDirExists(t, filepath.Dir(p.State)) })
		t.Cleanup(func() { require.NoError(t, c.RemoveAgent(w.ctx(nil))) })
	}
	require.Len(t, pids, 2)
}
