package ssh

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/transport/ssh/sshdtest"
)

// A login shell may take seconds to start: adopting a machine and putting the agent there take two of them, and what is
// there already takes no more. The pause that a shell makes is BERTH_TEST_SHELL_PAUSE, for who wants to measure.
func TestAdoptionStartsTwoShells(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	shell, starts := filepath.Join(dir, "slowsh"), filepath.Join(dir, "starts")
	pause := os.Getenv("BERTH_TEST_SHELL_PAUSE")
	if pause == "" {
		pause = "0"
	}
	require.NoError(t, os.WriteFile(shell, []byte("#!/bin/sh\ncat /proc/$PPID/comm >>"+starts+"\nsleep "+pause+
		"\nexec /bin/sh \"$@\"\n"), 0o755))
	require.NoError(t, os.WriteFile(starts, nil, 0o666))
	require.NoError(t, os.Chmod(starts, 0o666))
	for p := dir; p != "/"; p = filepath.Dir(p) {
		require.NoError(t, os.Chmod(p, 0o755))
		if filepath.Dir(p) == os.TempDir() {
			break
		}
	}
	name, home := sshdtest.NewUser(t, shell)
	s := sshdtest.Start(t, sshdtest.Options{User: name, Home: home})
	w := newWorld(t, itself).reach(s)
	ctx := w.ctx(nil)
	count := func() int { // those of sshd; the agent starts one for its environment, and waits for nothing
		b, err := os.ReadFile(starts)
		require.NoError(t, err)
		return strings.Count(string(b), "sshd")
	}
	box := backend.SSHTarget{Host: "box"}
	for _, what := range []string{"for the first time", "with its program there already"} {
		before, began := count(), time.Now()
		facts, err := w.m.Probe(ctx, box)
		require.NoError(t, err)
		require.Equal(t, home, facts.Home)
		c, err := w.m.Conn(ctx, "i-box", box)
		require.NoError(t, err)
		_, err = c.EnsureAgent(ctx)
		require.NoError(t, err)
		t.Logf("%s: %d shells, %v", what, count()-before, time.Since(began).Round(10*time.Millisecond))
		require.LessOrEqual(t, count()-before, 2, what)
	}
	c, err := w.m.Conn(ctx, "i-box", box)
	require.NoError(t, err)
	before := count()
	require.NoError(t, c.RemoveAgent(ctx))
	require.Equal(t, 1, count()-before)
}
