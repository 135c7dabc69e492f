package ssh

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/transport/ssh/sshdtest"
)

// An agent that was put on a host and does not start there is removed, too: by its own program, or, where that can't
// run, as the file that it is. Who does it is not who put it there.
func TestRemoveAgentThatDidNotStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "berth")
	require.NoError(t, os.WriteFile(file, []byte("#!/no/such/loader\n"), 0o755))
	for name, change := range map[string]func(*Options){
		"its program runs": func(o *Options) { o.StartFlags = []string{"--no-such-flag"} },
		"its program can not run": func(o *Options) {
			o.AgentBinary = func(context.Context, string, string) (string, error) { return file, nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sshdtest.Start(t, sshdtest.Options{})
			w := newWorld(t, itself, change).reach(s)
			_, err := w.conn(w.ctx(nil), "box").EnsureAgent(w.ctx(nil))
			var broken *backend.AgentUnavailable
			require.ErrorAs(t, err, &broken)
			require.Contains(t, broken.Reason, "does not start")
			bin := filepath.Join(s.Home, "state", "berth", "bin")
			put, err := filepath.Glob(filepath.Join(bin, "*", "*"))
			require.NoError(t, err)
			require.Len(t, put, 1)

			w2 := newWorld(t, itself, change, func(o *Options) { o.Home = w.m.o.Home })
			w2.config = w.config
			require.NoError(t, w2.conn(w2.ctx(nil), "box").RemoveAgent(w2.ctx(nil)))
			require.NoDirExists(t, bin)
		})
	}
}

// The program of an older Berth does not know all that is asked of it: a newer one removes its agent, also for one
// home.
func TestRemoveAgentOfAnOlderBerth(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	exe, err := os.ReadFile(mustExe(t))
	require.NoError(t, err)
	older := filepath.Join(t.TempDir(), "berth")
	require.NoError(t, os.WriteFile(older, append(exe, 0), 0o755)) // another build
	w := newWorld(t, itself, func(o *Options) {
		o.AgentBinary = func(context.Context, string, string) (string, error) { return older, nil }
	}).reach(s)
	c := w.conn(w.ctx(nil), "box")
	info, err := c.EnsureAgent(w.ctx(nil))
	require.NoError(t, err)
	p, _ := c.agent.known()
	require.NoError(t, os.Remove(p.Program))
	require.NoError(t, os.WriteFile(p.Program, []byte(`#!/bin/sh
case "$*" in *--for=*) echo "berth: agent uninstall: flag provided but not defined: -for" >&2; exit 2 ;; esac
exec `+mustExe(t)+` "$@"
`), 0o755))

	w2 := newWorld(t, itself, func(o *Options) { o.Home = w.m.o.Home })
	w2.config = w.config
	shared, err := w2.conn(w2.ctx(nil), "box").removeFor(w2.ctx(nil), "0123456789abcdef")
	require.NoError(t, err)
	require.Nil(t, shared)
	require.NoDirExists(t, info.StateDir)
	eventually(t, "the agent ends", func() bool { return syscall.Kill(info.PID, 0) != nil })
}
