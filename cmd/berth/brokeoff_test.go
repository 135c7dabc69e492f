package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/transport/ssh/sshdtest"
)

// broken is a berth exec under way whose stream is about to break.
type broken struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr strings.Builder
	pid    int // of the command
	agent  int
}

// breakable runs a command that says its own number and that of its parent, and goes on as more says.
func (w *world) breakable(name, more string) *broken {
	w.t.Helper()
	b := &broken{t: w.t, cmd: w.cmd(context.Background(), "exec", name, "--", "sh", "-c", "echo $$ $PPID; "+more)}
	b.cmd.Stderr = &b.stderr
	out, err := b.cmd.StdoutPipe()
	require.NoError(w.t, err)
	in, err := b.cmd.StdinPipe() // it never ends
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = in.Close() })
	require.NoError(w.t, b.cmd.Start())
	_, err = fmt.Fscan(out, &b.pid, &b.agent)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = syscall.Kill(-b.pid, syscall.SIGKILL) }) // it has ended, mostly
	return b
}

// said waits for the client's end, and returns its code and what it said.
func (b *broken) said() (int, string) {
	_ = b.cmd.Wait() // its code is looked at
	return b.cmd.ProcessState.ExitCode(), b.stderr.String()
}

// TestAgentKilledDuringExec kills the agent under a command that goes on, and under one that ends with its input.
func TestAgentKilledDuringExec(t *testing.T) {
	t.Parallel()
	local := newWorld(t)
	local.ok("create", "here")
	remote, s := remoteWorld(t, sshdtest.Options{})
	remote.ok("adopt", "there", "gpu1", "--host-key", fingerprint(s))
	for name, w := range map[string]*world{"here": local, "there": remote} {
		b := w.breakable(name, "exec sleep 1000")
		require.NoError(t, syscall.Kill(b.agent, syscall.SIGKILL))
		code, said := b.said()
		require.Equal(t, 6, code, said)
		require.Contains(t, said, "berth: the agent of "+name+" went away while the command ran")
		require.Contains(t, said, "the command runs on there")
		require.NotContains(t, said, "SIGHUP")
		require.NoError(t, syscall.Kill(b.pid, 0), "it does run on")
		// What is named to end it does so.
		_, hint, ok := strings.Cut(said, "berth exec "+name+" -- sh -c '")
		require.True(t, ok, said)
		hint, _, _ = strings.Cut(hint, "'")
		w.ok("exec", name, "--", "sh", "-c", hint)
		eventually(t, "it has ended", func() bool { return syscall.Kill(b.pid, 0) != nil })

		b = w.breakable(name, "read x; exit 3")
		require.NoError(t, syscall.Kill(b.agent, syscall.SIGKILL))
		code, said = b.said()
		require.Equal(t, 6, code, said)
		require.Contains(t, said, "went away while the command ran")
	}
}

// TestAgentToldToEndDuringExec: that is said, with what has become of the command.
func TestAgentToldToEndDuringExec(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "here")
	for more, how := range map[string]string{
		"exec sleep 1000": "SIGHUP has ended it",
		"trap 'exit 3' HUP; while :; do sleep 0.05; done": "it has exited with 3",
	} {
		b := w.breakable("here", more)
		require.NoError(t, syscall.Kill(b.agent, syscall.SIGTERM))
		code, said := b.said()
		require.Equal(t, 6, code, said)
		require.Contains(t, said, "berth: the agent was told to end while the command ran")
		require.Contains(t, said, how)
		require.ErrorIs(t, syscall.Kill(b.pid, 0), syscall.ESRCH)
	}
}

// TestInstanceEndsDuringExec: who runs a command there is told that the instance is taken away, and who takes it away,
// that a command runs.
func TestInstanceEndsDuringExec(t *testing.T) {
	t.Parallel()
	local := newWorld(t)
	local.ok("create", "here")
	remote, s := remoteWorld(t, sshdtest.Options{})
	remote.ok("adopt", "there", "gpu1", "--host-key", fingerprint(s))
	b := remote.breakable("there", "exec sleep 1000")
	r := remote.run("rm", "there")
	require.Equal(t, 5, r.code)
	require.Contains(t, r.err, "1 command ends.")
	remote.ok("rm", "-y", "there")
	code, said := b.said()
	require.Equal(t, 6, code, said)
	require.Regexp(t, `berth: there (is being forgotten|was removed) \(berth rm\): the command there ends with that`, said)
	eventually(t, "it has ended", func() bool { return syscall.Kill(b.pid, 0) != nil })

	for _, is := range []struct{ verb, says string }{{"stop", `here (is stopping|was stopped)`},
		{"rm -y", `here (is being deleted|was removed) \(berth rm\)`}} {
		local.ok("start", "here")
		b = local.breakable("here", "exec sleep 1000")
		local.ok(append(strings.Fields(is.verb), "here")...)
		code, said = b.said()
		require.NotZero(t, code)
		require.Regexp(t, "berth: "+is.says+": (the command there ends with that|that has ended the command)", said)
	}
}

// TestDaemonKilledDuringExec breaks the stream where the agent sees it, and hangs up on the command.
func TestDaemonKilledDuringExec(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	b := w.breakable("vision", "trap '' HUP; while :; do sleep 0.05; done")
	require.NoError(t, syscall.Kill(w.pid(), syscall.SIGKILL))
	code, said := b.said()
	require.Equal(t, 6, code, said)
	require.Regexp(t, `the command (was told to end \(SIGHUP\)|has ended there)`, said)
}

// TestBlackHoleDuringExec takes the line away in the middle of a command: with nothing that passes and no word that it
// is gone, the client ends with what is known.
func TestBlackHoleDuringExec(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"own", "openssh"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("ssh"); err != nil && transport == "openssh" {
				t.Skip("no ssh on this machine: install openssh-client")
			}
			s := sshdtest.Start(t, sshdtest.Options{})
			line := sshdtest.Slow(t, s.Addr(), 0)
			s.Port = line.Port
			known := filepath.Join(t.TempDir(), "known_hosts")
			require.NoError(t, os.WriteFile(known, []byte(s.KnownHosts()), 0o600))
			w := newWorld(t)
			w.reach(s)
			w.env = append(w.env, "BERTH_LIMITS_SILENCE=6s")
			if transport == "openssh" {
				w.env = []string{"BERTH_SSH_CONFIG=" + sshdtest.Config(t, s.Stanza("gpu1", known)), "BERTH_LIMITS_SILENCE=6s"}
				w.ok("adopt", "gpu1", "gpu1", "--transport", "openssh")
			} else {
				w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
			}
			b := w.breakable("gpu1", "exec sleep 1000")
			back := line.Away()
			code, said := b.said()
			back()
			require.Equal(t, 6, code, said)
			require.Contains(t, said, "berth: the line to gpu1 broke: ")
			require.NotContains(t, said, "was told")
			require.NoError(t, syscall.Kill(b.pid, 0), "nobody there knows")
			eventually(t, "the line is back", func() bool { return w.run("exec", "gpu1", "--", "true").code == 0 })
			eventually(t, "the instance has seen it", func() bool { return syscall.Kill(b.pid, 0) != nil })
		})
	}
}

// TestSilenceIsConfigured: the key of the configuration is there, and what can't be is refused.
func TestSilenceIsConfigured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var keys []struct {
		Key   string `json:"key"`
		Value any    `json:"value"`
	}
	require.NoError(t, json.Unmarshal([]byte(w.ok("config", "show", "--json")), &keys))
	var got any
	for _, k := range keys {
		if k.Key == "limits.silence" {
			got = k.Value
		}
	}
	require.Equal(t, "15s", got)
	w.env = []string{"BERTH_LIMITS_SILENCE=1s"}
	require.Equal(t, 2, w.run("config", "show").code)
}
