package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"berth/backend/base/version"
	"berth/backend/transport/ssh/sshdtest"
)

// seat is a terminal with a berth that was started on it.
type seat struct {
	t        *testing.T
	cmd      *exec.Cmd
	ptm, tty *os.File
	read     chan struct{} // closed when nothing is read any more

	mu   sync.Mutex
	said strings.Builder
}

// sit starts berth on a terminal of its own.
func (w *world) sit(args ...string) *seat {
	w.t.Helper()
	ptm, tty, err := pty.Open()
	require.NoError(w.t, err)
	s := &seat{t: w.t, cmd: w.cmd(w.t.Context(), args...), ptm: ptm, tty: tty, read: make(chan struct{})}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = tty, tty, tty
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(w.t, s.cmd.Start())
	go func() {
		defer close(s.read)
		buf := make([]byte, 4096)
		for {
			n, err := ptm.Read(buf)
			s.mu.Lock()
			s.said.Write(buf[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return s
}

func (s *seat) screen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

func (s *seat) sees(text string) {
	s.t.Helper()
	eventually(s.t, "on the terminal: "+text, func() bool { return strings.Contains(s.screen(), text) })
}

func (s *seat) types(keys string) {
	s.t.Helper()
	_, err := io.WriteString(s.ptm, keys)
	require.NoError(s.t, err)
}

// cooked reports whether the terminal edits lines and shows what is typed.
func (s *seat) cooked() bool {
	m, err := unix.IoctlGetTermios(int(s.tty.Fd()), unix.TCGETS)
	require.NoError(s.t, err)
	const want = unix.ICANON | unix.ECHO | unix.ISIG
	return m.Lflag&want == want
}

// ends waits for the program's end and returns its exit code, as a shell has it, and all that it said.
func (s *seat) ends() (code int, said string) {
	_ = s.cmd.Wait() // the code tells
	const last = "[all was read]"
	fmt.Fprint(s.tty, last)
	s.sees(last)
	st, _ := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	code = st.ExitStatus()
	if st.Signaled() {
		code = 128 + int(st.Signal())
	}
	return code, s.screen()
}

func (s *seat) leave() {
	_ = s.tty.Close()
	_ = s.ptm.Close()
	<-s.read
}

// questionEnd is a way in which a question ends without an answer.
type questionEnd struct {
	name string
	do   func(s *seat)
	code int
	exec int // of exec, whose signals are the command's; 0: the same
	says string
	raw  bool // nobody is left to put the terminal back
}

var questionEnds = []questionEnd{
	{name: "ctrl-C", do: func(s *seat) { s.types("\x03") }, code: 130, says: "berth: interrupted"},
	{name: "ctrl-C in the middle", do: func(s *seat) { s.types("secre\x03") }, code: 130, says: "berth: interrupted"},
	{name: "ctrl-D", do: func(s *seat) { s.types("\x04") }, code: 130, says: "berth: interrupted"},
	{name: "escape", do: func(s *seat) { s.types("\x1b") }, code: 6, says: "the answer was refused"},
	{name: "SIGINT", do: signals(syscall.SIGINT), code: 130},
	{name: "SIGTERM", do: signals(syscall.SIGTERM), code: 130, exec: 143},
	{name: "SIGHUP", do: signals(syscall.SIGHUP), code: 129},
	{name: "SIGKILL", do: signals(syscall.SIGKILL), code: 137, raw: true},
}

func signals(sig syscall.Signal) func(*seat) {
	return func(s *seat) { require.NoError(s.t, s.cmd.Process.Signal(sig)) }
}

// quiet waits until the daemon does nothing for anybody, and no connection to the server is left.
func quiet(t *testing.T, w *world, s *sshdtest.Server) {
	t.Helper()
	c := w.client()
	eventually(t, "the daemon asks nobody, and reaches for nothing", func() bool {
		info, err := c.Daemon().Info(t.Context())
		require.NoError(t, err)
		return info.Questions == 0 && info.Operations == 0 && s.Connections() == 0
	})
}

// lockedWorld is a world with gpu1, whose key wants a passphrase that the daemon does not know.
func lockedWorld(t *testing.T, adopted bool, env ...string) (*world, *sshdtest.Server) {
	k := sshdtest.NewKey(t, "ed25519", "open sesame")
	w, s := remoteWorld(t, sshdtest.Options{Authorized: []*sshdtest.Key{k}})
	w.env = append(w.env, env...)
	if adopted {
		on := w.sit("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
		defer on.leave()
		on.sees("Passphrase for " + k.File)
		require.False(t, on.cooked(), "what is typed is not shown")
		on.types("open sesame\r")
		code, said := on.ends()
		require.Zero(t, code, said)
		require.NotContains(t, said, "sesame")
		require.True(t, on.cooked())
		w.ok("daemon", "stop")
	}
	return w, s
}

// TestAQuestionEnds asks for a passphrase in every verb's way, and ends the asking in every way but by the answer.
func TestAQuestionEnds(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"exec": {"exec", "gpu1", "--", "true"}, "ssh": {"ssh", "gpu1"}, "top": {"top", "--once", "gpu1"},
		"term": {"term", "ls", "gpu1"}, "adopt": {"adopt", "gpu1", "gpu1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s := lockedWorld(t, name != "adopt")
			if name == "adopt" {
				args = append(args, "--host-key", fingerprint(s))
			}
			for _, end := range questionEnds {
				w.endsAQuestion(s, "Passphrase for ", end, args...)
			}
		})
	}
}

// TestEveryQuestionEnds ends the other questions that an adoption has.
func TestEveryQuestionEnds(t *testing.T) {
	t.Parallel()
	for title, lines := range map[string][]string{
		"Trust the host key of ": nil,
		"Password of ":           {"PasswordAuthentication yes", "AuthenticationMethods password"},
		"Password at ":           {"UsePAM yes", "KbdInteractiveAuthentication yes", "AuthenticationMethods keyboard-interactive"},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			if _, err := os.Stat("/etc/pam.d/sshd"); err != nil && title == "Password at " {
				t.Skip("keyboard-interactive needs PAM: install openssh-server of a distribution that has it")
			}
			w, s := remoteWorld(t, sshdtest.Options{Lines: lines})
			args := []string{"adopt", "gpu1", "gpu1"}
			if lines != nil {
				args = append(args, "--host-key", fingerprint(s))
			}
			for _, end := range questionEnds {
				w.endsAQuestion(s, title, end, args...)
			}
		})
	}
}

// endsAQuestion runs a verb up to its question and ends that. Afterwards the terminal is as it was, nobody is asked,
// and nothing is under way.
func (w *world) endsAQuestion(s *sshdtest.Server, title string, end questionEnd, args ...string) {
	w.t.Helper()
	on := w.sit(args...)
	on.sees(title)
	eventually(w.t, "the terminal does not show what is typed", func() bool { return !on.cooked() })
	end.do(on)
	code, said := on.ends()
	want := end.code
	if args[0] == "exec" && end.exec != 0 {
		want = end.exec
	}
	require.Equal(w.t, want, code, "%s: %s", end.name, said)
	require.Contains(w.t, said, end.says, end.name)
	require.NotContains(w.t, said, "goes on", end.name)
	require.Equal(w.t, !end.raw, on.cooked(), end.name)
	on.leave()
	quiet(w.t, w, s)
	if args[0] == "adopt" {
		require.Empty(w.t, w.ls(), "%s: what was never taken in leaves nothing", end.name)
	}
}

// TestAKilledAdoptionSaysWhy kills the client of an adoption at its question.
func TestAKilledAdoptionSaysWhy(t *testing.T) {
	t.Parallel()
	w, s := lockedWorld(t, false)
	on := w.sit("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	defer on.leave()
	on.sees("Passphrase for ")
	require.NoError(t, on.cmd.Process.Kill())
	on.ends()
	quiet(t, w, s)
	require.Contains(t, w.ok("events"), "the client that was asked has gone")
}

// TestAQuestionEndsByItself lets questions stand, for a passphrase and for a host key.
func TestAQuestionEndsByItself(t *testing.T) {
	t.Parallel()
	w, s := lockedWorld(t, true, "BERTH_LIMITS_QUESTION=1s")
	for _, args := range [][]string{{"exec", "gpu1", "--", "true"}, {"ssh", "gpu1"}, {"top", "--once", "gpu1"},
		{"adopt", "gpu2", "gpu1"}} {
		on := w.sit(args...)
		code, said := on.ends()
		require.Equal(t, 6, code, said)
		require.Contains(t, said, "nobody answered within 1s")
		require.Equal(t, 1, strings.Count(said, "To sign in to")+strings.Count(said, "Trust the host key of")-
			strings.Count(said, "berth: the host key"), "it is asked once: %s", said)
		require.True(t, on.cooked())
		on.leave()
		quiet(t, w, s)
	}
	require.Len(t, w.ls(), 1)
}

// TestConfirmationEnds ends the question before a deletion.
func TestConfirmationEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "one")
	for keys, want := range map[string]int{"\x03": 130, "\x04": 130, "\x1b": 5, "n\r": 5, "\r": 5} {
		on := w.sit("rm", "one")
		on.sees("[y/N] ")
		on.types(keys)
		code, said := on.ends()
		require.Equal(t, want, code, "%q: %s", keys, said)
		require.True(t, on.cooked())
		on.leave()
		require.Len(t, w.ls(), 1)
	}
	on := w.sit("rm", "one")
	on.sees("[y/N] ")
	on.types("y\r")
	code, said := on.ends()
	require.Zero(t, code, said)
	on.leave()
	require.Empty(t, w.ls())
}

// TestAQuestionAtAHandOverIsAskedAgain has a daemon make way for a newer one while a question waits: the next daemon
// asks it, and its answer counts.
func TestAQuestionAtAHandOverIsAskedAgain(t *testing.T) {
	t.Parallel()
	w, _ := lockedWorld(t, true)
	for _, args := range [][]string{{"exec", "gpu1", "--", "echo", "in-there"}, {"top", "--once", "gpu1"}} {
		on := w.sit(args...)
		on.sees("Passphrase for ")
		newer := version.Version{Number: "99.0.0", Built: time.Now().Add(time.Hour)}
		require.NoError(t, w.client().Daemon().HandOver(t.Context(), newer))
		eventually(t, "it is asked again", func() bool { return strings.Count(on.screen(), "Passphrase for ") > 1 })
		on.types("open sesame\r")
		code, said := on.ends()
		require.Zero(t, code, said)
		require.True(t, on.cooked())
		on.leave()
		w.ok("daemon", "stop") // and with it the passphrase is forgotten
	}
}
