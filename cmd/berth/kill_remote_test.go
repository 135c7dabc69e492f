package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/service/workspace"
	"berth/backend/transport/ssh/sshdtest"
)

// agents returns the processes that run from the server's home: there should be one agent.
func agents(t *testing.T, s *sshdtest.Server) []string {
	var out []string
	for _, p := range processes(t, s.Home) {
		if strings.Contains(p, "agent run") {
			out = append(out, p)
		}
	}
	return out
}

// placed returns the files of Berth in the server's home.
func placed(s *sshdtest.Server) []string {
	var out []string
	_ = filepath.WalkDir(s.Home, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(p, "berth") {
			out = append(out, p)
		}
		return nil // what goes away meanwhile is not there
	})
	return out
}

// nothingThere checks that no file and no process of Berth is left on the server's machine.
func nothingThere(t *testing.T, w *world, s *sshdtest.Server) {
	t.Helper()
	left := placed(s)
	require.Empty(t, left, "%s", w.ok("events"))
	eventually(t, "the agent has ended", func() bool { return len(processes(t, s.Home)) == 0 })
}

// TestDaemonKilledOverSSH kills the daemon with SIGKILL at every fault point of taking in and of
// forgetting a machine behind a real sshd: the waiting client gets its answer from the next daemon, one
// agent runs there, and at the end nothing is left on the machine.
func TestDaemonKilledOverSSH(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills many daemons and servers")
	}
	for _, point := range workspace.FaultPoints() {
		kind, _, _ := strings.Cut(point, ".")
		if kind != "adopt" && kind != "delete" {
			continue
		}
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w, s := remoteWorld(t, sshdtest.Options{})
			args := []string{"adopt", "gpu1", "gpu1", "--host-key", fingerprint(s)}
			if kind == "delete" {
				w.ok(args...)
				w.run("daemon", "stop")
				args = []string{"rm", "-y", "gpu1"}
			}
			calm, struck := w.env, filepath.Join(t.TempDir(), "struck")
			w.env = append([]string{"BERTH_TEST_FAULT=" + point + " " + struck}, calm...)
			r := w.run(args...)
			w.env = calm
			require.Zero(t, r.code, "%v: %s", args, r.err)
			require.FileExists(t, struck, "the point was not reached")
			eventually(t, "the next daemon is at rest", func() bool {
				ins := w.ls()
				return len(ins) == 0 || ins[0].Operation == nil
			})
			if kind == "adopt" {
				ins := w.ls()
				require.Len(t, ins, 1)
				require.Equal(t, api.StateRunning, ins[0].State)
				require.Equal(t, "hi\n", w.ok("exec", "gpu1", "--", "echo", "hi"))
				require.Len(t, agents(t, s), 1, "one agent, placed once")
				require.NotEmpty(t, placed(s))
				w.ok("rm", "-y", "gpu1")
			}
			require.Empty(t, w.ls())
			nothingThere(t, w, s)
		})
	}
}

// TestDeleteCutShort kills client and daemon in a delete, at each of its points; a second rm, the first
// call of the next daemon, finishes it.
func TestDeleteCutShort(t *testing.T) {
	for _, point := range workspace.FaultPoints() {
		if !strings.HasPrefix(point, "delete.") {
			continue
		}
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ok("create", "vision")
			w.ok("daemon", "stop")
			struck := filepath.Join(t.TempDir(), "struck")
			w.env = []string{"BERTH_TEST_FAULT=" + point + " " + struck}
			cmd := w.cmd(context.Background(), "rm", "-y", "vision")
			require.NoError(t, cmd.Start())
			eventually(t, "the daemon has died", func() bool { _, err := os.Stat(struck); return err == nil })
			_ = cmd.Process.Kill() // it may have ended already
			_ = cmd.Wait()
			w.env = nil
			r := w.run("rm", "-y", "vision")
			require.Contains(t, []int{0, 3}, r.code, r.err) // deleted now, or deleted before it was asked for
			eventually(t, "it is gone", func() bool { return len(w.ls()) == 0 })
			w.noLeftovers("delete")
		})
	}
}

// TestClientKilledWhileAdopting kills the client that waits: what it asked for goes on.
func TestClientKilledWhileAdopting(t *testing.T) {
	t.Parallel()
	w, s := remoteWorld(t, sshdtest.Options{})
	w.ok("ls")
	before := len(w.events())
	cmd := w.cmd(context.Background(), "adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	require.NoError(t, cmd.Start())
	eventually(t, "the operation is under way", func() bool { return len(w.events()) > before })
	_ = cmd.Process.Kill() // it may have ended already
	_ = cmd.Wait()
	eventually(t, "it is taken in", func() bool {
		ins := w.ls()
		return len(ins) == 1 && ins[0].State == api.StateRunning && ins[0].Operation == nil
	})
	require.Len(t, agents(t, s), 1)
	w.ok("rm", "-y", "gpu1")
	nothingThere(t, w, s)
}

// TestServerKilledWhileAdopting kills sshd with all its connections at several moments of adopt, and
// starts it again: either the machine is taken in, or the error is clear and nothing is in the fleet.
// Afterwards it can be taken in, and forgotten without a trace.
func TestServerKilledWhileAdopting(t *testing.T) {
	for name, moment := range map[string]func(w *world, s *sshdtest.Server) bool{
		"connected": func(_ *world, s *sshdtest.Server) bool { return s.Connections() > 0 },
		"identified": func(w *world, _ *sshdtest.Server) bool {
			for _, e := range w.events() {
				if strings.Contains(e.Message, "putting the agent in place") {
					return true
				}
			}
			return false
		},
		"placing": func(_ *world, s *sshdtest.Server) bool { return len(placed(s)) > 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s := remoteWorld(t, sshdtest.Options{})
			w.ok("ls")
			args := []string{"adopt", "gpu1", "gpu1", "--host-key", fingerprint(s)}
			cmd := w.cmd(context.Background(), args...)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			require.NoError(t, cmd.Start())
			eventually(t, "the moment has come", func() bool { return moment(w, s) })
			s.Kill()
			s.Restart()
			_ = cmd.Wait() // its code is looked at
			if code := cmd.ProcessState.ExitCode(); code != 0 {
				require.Equal(t, 6, code, stderr.String())
				require.Contains(t, stderr.String(), "gpu1")
				require.Empty(t, w.ls())
				w.ok(args...)
			}
			require.Equal(t, api.StateRunning, w.show("gpu1").State)
			require.Equal(t, "hi\n", w.ok("exec", "gpu1", "--", "echo", "hi"))
			require.Len(t, agents(t, s), 1)
			w.ok("rm", "-y", "gpu1")
			nothingThere(t, w, s)
		})
	}
}

// TestServerKilledDuringShell loses the line under `berth ssh` on a real terminal: the shell on the
// machine goes on, what is typed next reaches it, and its exit code is berth's.
func TestServerKilledDuringShell(t *testing.T) {
	t.Parallel()
	w, s := remoteWorld(t, sshdtest.Options{})
	w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	cmd := w.cmd(t.Context(), "ssh", "gpu1")
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	require.NoError(t, err)
	defer tty.Close()
	var mu sync.Mutex
	var said strings.Builder
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			mu.Lock()
			said.Write(buf[:n])
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	defer func() {
		if t.Failed() {
			mu.Lock()
			defer mu.Unlock()
			t.Logf("the terminal showed %q; %v", said.String(), w.events())
		}
	}()
	sees := func(what string) {
		t.Helper()
		eventually(t, what, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return strings.Contains(said.String(), what)
		})
	}
	types := func(line string) {
		_, err := tty.WriteString(line + "\n")
		require.NoError(t, err)
	}
	types("KEPT=yes; echo first-$((1+1))")
	sees("first-2")
	s.Kill()
	eventually(t, "the line is seen to be lost", func() bool { return w.ls()[0].State == api.StateUnknown })
	sees("connecting again") // what is typed before the client knows goes down with the line
	s.Restart()
	eventually(t, "the machine is reached again", func() bool { return w.ls()[0].State == api.StateRunning })
	types("echo second-$((1+1))-$KEPT")
	sees("second-2-yes")
	types("exit 5")
	<-ended
	_ = cmd.Wait() // its code is looked at
	require.Equal(t, 5, cmd.ProcessState.ExitCode())
}
