package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

// remoteWorld is a world whose ssh configuration reaches a real sshd as gpu1.
func remoteWorld(t *testing.T, o sshdtest.Options) (*world, *sshdtest.Server) {
	t.Helper()
	s := sshdtest.Start(t, o)
	w := newWorld(t)
	w.reach(s)
	return w, s
}

// reach makes gpu1 the server s, with known host keys in a file of its own.
func (w *world) reach(s *sshdtest.Server, more ...string) {
	known := filepath.Join(w.t.TempDir(), "known_hosts")
	w.env = []string{"BERTH_SSH_CONFIG=" + sshdtest.Config(w.t, s.Stanza("gpu1", known, more...))}
}

func fingerprint(s *sshdtest.Server) string { return ssh.FingerprintSHA256(s.HostKey.Public) }

// TestAdoptOverSSH is the everyday road: a machine that exists, taken in, used, forgotten.
func TestAdoptOverSSH(t *testing.T) {
	t.Parallel()
	w, s := remoteWorld(t, sshdtest.Options{})
	r := w.run("adopt", "gpu1", "gpu1")
	require.Equal(t, 6, r.code, "an unknown host key needs somebody to look at it")
	require.Contains(t, r.err, fingerprint(s))
	require.Empty(t, w.ls(), "what was never taken in leaves nothing")

	w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	in := w.show("gpu1")
	require.Equal(t, api.StateRunning, in.State)
	require.True(t, in.Adopted)
	require.Equal(t, "ssh", in.Backend)
	require.Equal(t, "ready", in.Agent.State)
	require.NotZero(t, in.VCPUs)
	require.NotZero(t, in.MemoryBytes)
	require.Equal(t, s.Port, in.Port)

	require.Equal(t, "a b\n", w.ok("exec", "gpu1", "--", "echo", "a b"))
	require.Equal(t, 7, w.run("exec", "gpu1", "--", "sh", "-c", "exit 7").code)
	require.Contains(t, w.ok("ls"), "gpu1")

	for _, verb := range []string{"start", "stop", "restart"} {
		r = w.run(verb, "gpu1")
		require.Equal(t, 2, r.code, verb)
		require.Contains(t, r.err, "gpu1 can't "+verb)
	}
	r = w.run("adopt", "again", "gpu1", "--host-key", fingerprint(s))
	require.NotZero(t, r.code)
	require.Contains(t, r.err, `in the fleet already, as "gpu1"`)

	var left []string
	w.ok("rm", "-y", "gpu1")
	_ = filepath.WalkDir(s.Home, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(p, "berth") {
			left = append(left, p)
		}
		return nil
	})
	require.Empty(t, left, "the agent and its folder are removed\n%s", w.ok("events"))
	eventually(t, "the agent has ended", func() bool { return len(processes(t, s.Home)) == 0 })
}

// TestDaemonKilledKeepsRemote kills the daemon; the next one reaches the same agent.
func TestDaemonKilledKeepsRemote(t *testing.T) {
	t.Parallel()
	w, s := remoteWorld(t, sshdtest.Options{})
	w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	w.ok("exec", "gpu1", "--", "true")
	w.ok("daemon", "stop")
	require.Equal(t, "hi\n", w.ok("exec", "gpu1", "--", "echo", "hi"))
}

// TestClearErrors tries to take in what can't be reached: each says what, where and why, with exit 6.
func TestClearErrors(t *testing.T) {
	t.Parallel()
	good := sshdtest.Start(t, sshdtest.Options{})
	mute := sshdtest.Mute(t)
	for name, c := range map[string]struct {
		target string
		more   []string
		want   string
	}{
		"closed port":       {target: fmt.Sprintf("root@127.0.0.1:%d", sshdtest.FreePort(t)), want: "refused"},
		"never says a word": {target: fmt.Sprintf("root@127.0.0.1:%d", mute), want: "within"},
		"no such name":      {target: "root@no-such-host.invalid", want: "no-such-host.invalid"},
		"wrong user":        {target: "nobody-here@gpu1", want: "nobody-here"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.reach(good, "ConnectTimeout 2")
			r := w.run("adopt", "gpu1", c.target, "--host-key", fingerprint(good))
			require.Equal(t, 6, r.code, r.err)
			require.Contains(t, r.err, c.want)
			require.Empty(t, w.ls())
		})
	}
}

// TestChangedHostKeyIsRefused changes the server's key between two connections.
func TestChangedHostKeyIsRefused(t *testing.T) {
	t.Parallel()
	w, s := remoteWorld(t, sshdtest.Options{})
	w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	w.ok("daemon", "stop")
	s.Kill()
	other := sshdtest.Start(t, sshdtest.Options{Port: s.Port, Authorized: []*sshdtest.Key{s.Key}})
	r := w.run("exec", "gpu1", "--", "true")
	require.NotZero(t, r.code)
	require.Contains(t, r.err, fingerprint(other))
}

// TestServerKilledDuringExec loses the line in the middle; afterwards all works again.
func TestServerKilledDuringExec(t *testing.T) {
	t.Parallel()
	w, s := remoteWorld(t, sshdtest.Options{})
	w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	cmd := w.cmd(context.Background(), "exec", "gpu1", "--", "sh", "-c", "echo started; sleep 1000")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	buf := make([]byte, 8)
	_, err = out.Read(buf)
	require.NoError(t, err)
	s.Kill()
	_ = cmd.Wait() // its code is looked at
	require.Equal(t, 6, cmd.ProcessState.ExitCode())
	require.Regexp(t, "berth: the line( to gpu1)? broke", stderr.String())
	s.Restart()
	eventually(t, "it is reached again", func() bool { return w.run("exec", "gpu1", "--", "true").code == 0 })
}

// TestLostMachineIsUnknown loses a machine and finds it again, without being asked.
func TestLostMachineIsUnknown(t *testing.T) {
	t.Parallel()
	w, s := remoteWorld(t, sshdtest.Options{})
	w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	s.Kill()
	eventually(t, "its state is unknown, with the reason", func() bool {
		in := w.ls()[0]
		return in.State == api.StateUnknown && in.StateReason != ""
	})
	s.Restart()
	eventually(t, "it is running again", func() bool { return w.ls()[0].State == api.StateRunning })
}

// TestUnknownHostKeyIsAsked answers the question on a terminal.
func TestUnknownHostKeyIsAsked(t *testing.T) {
	t.Parallel()
	w, s := remoteWorld(t, sshdtest.Options{})
	adopt := func(answer string) (string, int) {
		cmd := w.cmd(t.Context(), "adopt", "gpu1", "gpu1")
		tty, err := pty.Start(cmd)
		require.NoError(t, err)
		defer tty.Close()
		var said strings.Builder
		buf := make([]byte, 4096)
		asked := false
		for {
			n, err := tty.Read(buf)
			said.Write(buf[:n])
			if !asked && strings.Contains(said.String(), "[y/N]") {
				asked = true
				_, _ = tty.WriteString(answer + "\n") // its end is seen by the reads
			}
			if err != nil {
				break
			}
		}
		_ = cmd.Wait() // its code is looked at
		return said.String(), cmd.ProcessState.ExitCode()
	}
	said, code := adopt("n")
	require.Contains(t, said, fingerprint(s))
	require.NotZero(t, code)
	require.Empty(t, w.ls())
	said, code = adopt("y")
	require.Zero(t, code, said)
	require.Equal(t, api.StateRunning, w.show("gpu1").State)
	w.ok("daemon", "stop")
	w.ok("exec", "gpu1", "--", "true") // it is known now: nobody is asked
}

// TestRefusedAdoptLeavesNothing takes in this host twice: the second is refused and never appears.
func TestRefusedAdoptLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user = t.TempDir() // nothing is put into the home of who runs the tests
	w.ok("adopt", "here", "--local")
	r := w.run("adopt", "here2", "--local")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, `as "here"`)
	w.ok("daemon", "stop")
	require.Len(t, w.ls(), 1) // the next daemon asks the backend what there is
	w.ok("rm", "-y", "here")
	w.ok("daemon", "stop")
	require.Empty(t, w.ls())
	w.noLeftovers("adopt")
}

// TestForgetWhatIsAway forgets a machine that can't be reached: that fails, and says what stays where. Forced, doctor
// keeps it in mind until it is removed.
func TestForgetWhatIsAway(t *testing.T) {
	t.Parallel()
	w, s := remoteWorld(t, sshdtest.Options{})
	w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	w.ok("daemon", "stop")
	s.Kill()
	for range 2 {
		r := w.run("rm", "-y", "gpu1")
		require.Equal(t, 6, r.code, r.err)
		require.Contains(t, r.err, "gpu1 is not forgotten")
		require.Contains(t, r.err, filepath.Join(s.Home, "state", "berth", "hosts"))
		require.Contains(t, r.err, "uninstall --end")
		require.Contains(t, r.err, "berth rm --force gpu1")
		require.Len(t, w.ls(), 1)
	}
	r := w.run("rm", "-y", "--force", "gpu1")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "gpu1 is forgotten")
	require.Contains(t, r.err, "could not be removed")
	require.Empty(t, w.ls())
	w.ok("daemon", "stop")
	id := regexp.MustCompile(`berth doctor --remove (left:\S+)`).FindStringSubmatch(w.run("doctor").out)
	require.Len(t, id, 2)
	id[1] = strings.TrimRight(id[1], ";")
	require.Equal(t, 6, w.run("doctor", "--remove", id[1]).code)
	s.Restart()
	r = w.run("doctor", "--remove", id[1])
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, id[1]+" is removed: nothing of this home is on that machine any more")
	require.NotContains(t, w.run("doctor").out, "left:")
	eventually(t, "the agent has ended", func() bool { return len(processes(t, s.Home)) == 0 })
	entries, err := os.ReadDir(s.Home)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// TestForgetThroughTheOneSession: the session that leads to the agent is the only one that the server allows.
func TestForgetThroughTheOneSession(t *testing.T) {
	t.Parallel()
	w, s := remoteWorld(t, sshdtest.Options{MaxSessions: 1, NoStreamLocal: true})
	w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	cmd := w.cmd(t.Context(), "exec", "gpu1", "--", "sleep", "1000")
	require.NoError(t, cmd.Start())
	eventually(t, "the command runs", func() bool {
		in := w.show("gpu1")
		return in.Agent.Transport == "dial" && len(processes(t, s.Home)) > 0
	})
	r := w.run("rm", "gpu1")
	require.Equal(t, 5, r.code, "it is asked first")
	require.Contains(t, r.err, "No terminal ends.")
	require.Contains(t, r.err, "Forget gpu1?")
	r = w.run("rm", "-y", "gpu1")
	require.Zero(t, r.code, r.err)
	require.Equal(t, "gpu1 is forgotten\n", r.err)
	said := w.ok("events")
	require.Contains(t, said, "forget asked for")
	require.Contains(t, said, "forget: done in")
	require.NotContains(t, said, "delet")
	_ = cmd.Wait() // it was ended
	eventually(t, "the agent has ended", func() bool { return len(processes(t, s.Home)) == 0 })
	entries, err := os.ReadDir(s.Home)
	require.NoError(t, err)
	require.Empty(t, entries)
}
