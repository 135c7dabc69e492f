package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/service/workspace"
)

// TestDaemonKilledAtEachPoint kills the daemon with SIGKILL at every fault point of every operation
// while a client waits, and checks that the client's call still succeeds through the next daemon, that
// nothing was made twice, and that nothing is left when the instance is deleted.
func TestDaemonKilledAtEachPoint(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills many daemons")
	}
	for _, point := range workspace.FaultPoints() {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			kind, _, _ := strings.Cut(point, ".")
			if kind != "create" && kind != "adopt" {
				w.ok("create", "vision")
			}
			if kind == "adopt" { // start-up files of who runs the tests may take long
				w.user = t.TempDir()
			}
			if kind == "start" {
				w.ok("stop", "vision")
			}
			w.run("daemon", "stop")

			struck := filepath.Join(t.TempDir(), "struck")
			w.env = []string{"BERTH_TEST_FAULT=" + point + " " + struck}
			script := filepath.Join(t.TempDir(), "more.sh")
			require.NoError(t, os.WriteFile(script, []byte("echo once >>\"$HOME/more\"\n"), 0o600))
			args := map[string][]string{"create": {"create", "vision"}, "adopt": {"adopt", "vision", "--local"},
				"delete": {"rm", "-y", "vision"}, "setup": {"setup", "vision", "--setup", script}}[kind]
			if args == nil {
				args = []string{kind, "vision"}
			}
			r := w.run(args...)
			require.Zero(t, r.code, "%v: %s", args, r.err)
			require.FileExists(t, struck, "the point was not reached")
			w.env = nil

			// A point after the end may strike once the client has its answer.
			eventually(t, "the next daemon is at rest", func() bool {
				ins := w.ls()
				return len(ins) == 0 || (ins[0].Operation == nil && !ins[0].State.Changing())
			})
			ins := w.ls()
			if kind == "delete" {
				require.Empty(t, ins)
			} else {
				require.Len(t, ins, 1)
				want := api.StateRunning
				if kind == "stop" {
					want = api.StateStopped
				}
				require.Equal(t, want, ins[0].State)
				if want == api.StateRunning {
					w.ok("exec", "vision", "--", "true")
				}
				if kind == "setup" {
					require.Equal(t, "once\n", w.ok("exec", "vision", "--", "sh", "-c", "cat $HOME/more"),
						"the script is run once, whoever was killed")
				}
				w.ok("rm", "-y", "vision")
			}
			w.noLeftovers(kind)
		})
	}
}

// noLeftovers checks that nothing of any instance is left: no folder, no process, no word of doctor.
func (w *world) noLeftovers(kind string) {
	w.t.Helper()
	require.NotContains(w.t, w.ok("doctor"), "leftover")
	w.ok("daemon", "stop")
	entries, err := os.ReadDir(filepath.Join(w.home, "instances"))
	require.NoError(w.t, err)
	require.Empty(w.t, entries)
	eventually(w.t, "no process is left after "+kind, func() bool { return len(processes(w.t, w.home)) == 0 })
}

// TestClientKilled kills the waiting client: what it asked for goes on.
func TestClientKilled(t *testing.T) {
	for _, kind := range []string{"create", "stop", "start", "restart", "rm"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			args := []string{kind, "vision"}
			if kind != "create" {
				w.ok("create", "vision")
			}
			if kind == "rm" {
				args = []string{"rm", "-y", "vision"}
			}
			if kind == "start" {
				w.ok("stop", "vision")
			}
			w.ok("ls") // the daemon runs: what is killed is only a client
			before := len(w.events())
			cmd := w.cmd(context.Background(), args...)
			require.NoError(t, cmd.Start())
			eventually(t, "the operation is under way", func() bool { return len(w.events()) > before })
			_ = cmd.Process.Kill() // it may have ended already
			_ = cmd.Wait()
			eventually(t, "the operation ends well", func() bool {
				ins := w.ls()
				if kind == "rm" {
					return len(ins) == 0
				}
				want := api.StateRunning
				if kind == "stop" {
					want = api.StateStopped
				}
				return len(ins) == 1 && ins[0].State == want && ins[0].Operation == nil
			})
		})
	}
}

func (w *world) events() []api.Event {
	ev, err := w.client().Events(w.t.Context(), api.EventOptions{})
	require.NoError(w.t, err)
	return ev
}

// TestInterruptedCreateGoesOn presses ctrl-C on a waiting create.
func TestInterruptedCreateGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	script := filepath.Join(t.TempDir(), "setup.sh")
	gate := filepath.Join(t.TempDir(), "gate")
	require.NoError(t, os.WriteFile(script, []byte("until [ -e '"+gate+"' ]; do sleep 0.02; done\n"), 0o600))
	cmd := w.cmd(t.Context(), "create", "vision", "--setup", script)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	eventually(t, "it is setting up", func() bool {
		ins := w.ls()
		return len(ins) == 1 && ins[0].State == api.StateSettingUp
	})
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	_ = cmd.Wait()
	require.Equal(t, 130, cmd.ProcessState.ExitCode())
	require.Contains(t, stderr.String(), "goes on; look at it with: berth show vision")
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	eventually(t, "it is running", func() bool { return w.show("vision").State == api.StateRunning })
}

// TestInstancesOutliveTheDaemon kills the daemon: instances, and what runs in them, go on.
func TestInstancesOutliveTheDaemon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	w.ok("exec", "vision", "--", "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $! > pid")
	require.NoError(t, syscall.Kill(w.pid(), syscall.SIGKILL))
	require.Equal(t, api.StateRunning, w.show("vision").State)
	w.ok("exec", "vision", "--", "sh", "-c", "kill -0 $(cat pid)")
	w.ok("stop", "vision")
	b, err := os.ReadFile(filepath.Join(w.show("vision").Workdir, "pid"))
	require.NoError(t, err)
	require.NoDirExists(t, "/proc/"+strings.TrimSpace(string(b)), "stop ends what double-forked away")
}
