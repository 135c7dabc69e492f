package agent

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"berth/backend/agent/root"
	"berth/backend/api"
)

// dialAs connects as another user: an agent hears its own only.
func dialAs(uid int, socket string) (net.Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), socket)
	defer f.Close()
	runtime.LockOSThread() // of this thread alone
	if _, _, no := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); no != 0 {
		runtime.UnlockOSThread()
		return nil, no
	}
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
	if _, _, no := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 0, ^uintptr(0)); no != 0 {
		return nil, no // and the thread ends with its goroutine
	}
	runtime.UnlockOSThread()
	if err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

// TestAnAgentWithoutRootAsksSudo runs the agent of another user, who first may not use sudo and then may.
func TestAnAgentWithoutRootAsksSudo(t *testing.T) {
	if _, err := exec.LookPath("sudo"); err != nil || os.Getuid() != 0 {
		t.Skip("needs root and sudo")
	}
	who, err := user.Lookup("daemon") // other tests let nobody use sudo meanwhile
	if err != nil {
		t.Skipf("needs the user daemon: %v", err)
	}
	uid, err := strconv.Atoi(who.Uid)
	require.NoError(t, err)
	gid, err := strconv.Atoi(who.Gid)
	require.NoError(t, err)
	as := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	try := exec.Command("sudo", "-n", "true")
	try.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: as}
	if try.Run() == nil {
		t.Skip("the user daemon may use sudo here")
	}
	base, err := os.MkdirTemp("/tmp", "ba")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	require.NoError(t, os.Chown(base, uid, gid))
	exe, err := os.Executable()
	require.NoError(t, err)
	b, err := os.ReadFile(exe)
	require.NoError(t, err)
	own := filepath.Join(base, "test")
	require.NoError(t, os.WriteFile(own, b, 0o755))
	socket := filepath.Join(base, "s")
	cmd := exec.Command(own, "agent", "run", "--state", filepath.Join(base, "state"), "--socket", socket, "--home",
		base, "--scratch", filepath.Join(base, "scratch"))
	cmd.Env = []string{"PATH=" + root.DefaultPath, "HOME=" + base}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: as}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	c := &api.AgentClient{Dial: func(context.Context) (net.Conn, error) { return dialAs(uid, socket) }}
	t.Cleanup(c.Close)
	t.Cleanup(func() { _ = c.Stop(context.Background(), api.StopRequest{End: true, GraceSeconds: 0.2}) })
	eventually(t, "the agent to answer", func() bool { _, err := c.Info(t.Context()); return err == nil })

	victim := exec.Command("sleep", "1000") // root's
	require.NoError(t, victim.Start())
	ended := make(chan error, 1)
	go func() { ended <- victim.Wait() }()
	t.Cleanup(func() { _ = victim.Process.Kill() })
	began, pid := time.Now(), victim.Process.Pid
	step := api.SetupStep{Name: "s", Root: true, Env: []string{"V=it's"},
		Script: "no-such-program || :; echo \"$(id -u) $V\" >" + base + "/log; sleep 0.1; no-such-program"}

	// Without a rule in sudoers.
	_, err = c.RenewHostKey(t.Context(), "drop")
	require.ErrorIs(t, err, &api.Error{Code: api.CodeUsage})
	_, err = c.RenewHostKey(t.Context(), api.HostKeyNew)
	require.ErrorIs(t, err, &api.Error{Code: api.CodeForbidden})
	require.ErrorContains(t, err, "renewing the host key needs root, which can't be had here without a question")
	require.ErrorIs(t, c.SignalProcess(t.Context(), pid, api.SignalRequest{Signal: "TERM", StartedAt: began}),
		&api.Error{Code: api.CodeRefused}, "another user's")
	err = c.SignalProcess(t.Context(), pid, api.SignalRequest{Signal: "TERM", StartedAt: began, Other: true})
	require.ErrorIs(t, err, &api.Error{Code: api.CodeForbidden})
	require.Contains(t, api.AsError(err).Hint,
		fmt.Sprintf("sudo /usr/local/bin/berth agent root signal TERM %d 2", pid), "what the user can change is not named")
	_, err = c.PutSetup(t.Context(), api.SetupPlan{ID: "a", Steps: []api.SetupStep{step}})
	require.NoError(t, err)
	st := setupEnd(t, c, "a")
	require.Equal(t, api.CodeForbidden, st.Error.Code)
	require.NoFileExists(t, filepath.Join(base, "log"))

	// What its hint says does the step.
	_, line, ok := strings.Cut(st.Error.Hint, "which only root can change: ")
	require.True(t, ok, st.Error.Hint)
	line, _, _ = strings.Cut(line, ";")
	line = strings.Replace(line, "/usr/local/bin/berth", own, 1)
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	require.Error(t, err, "it fails at its end")
	require.Contains(t, string(out), "no-such-program")
	logged, err := os.ReadFile(filepath.Join(base, "log"))
	require.NoError(t, err)
	require.Equal(t, "0 it's\n", string(logged))
	require.NoError(t, os.Remove(filepath.Join(base, "log")))

	// With one.
	rule := fmt.Sprintf("/etc/sudoers.d/berth-agent-test-%d", os.Getpid())
	if err := os.WriteFile(rule, []byte("daemon ALL=(ALL) NOPASSWD: ALL\n"), 0o440); err != nil {
		t.Skipf("writing a rule for sudo: %v", err)
	}
	t.Cleanup(func() { _ = os.Remove(rule) })
	_, err = c.ResumeSetup(t.Context(), "a")
	require.NoError(t, err)
	st = setupEnd(t, c, "a")
	require.Equal(t, api.CodeFailed, st.Error.Code)
	require.Contains(t, st.Error.Message, "ended with code 127: ")
	require.Contains(t, st.Error.Message, filepath.Join(base, "state/setup/a/01.sh")+":",
		"a message names the step's file")
	logged, err = os.ReadFile(filepath.Join(base, "log"))
	require.NoError(t, err)
	require.Equal(t, "0 it's\n", string(logged))
	left, err := filepath.Glob(filepath.Join(base, "state/setup/a/*.env"))
	require.NoError(t, err)
	require.Empty(t, left, "variables may be secrets")

	err = c.SignalProcess(t.Context(), pid,
		api.SignalRequest{Signal: "TERM", StartedAt: began.Add(-time.Hour), Other: true})
	require.ErrorIs(t, err, &api.Error{Code: api.CodeNotFound})
	err = c.SignalProcess(t.Context(), cmd.Process.Pid, api.SignalRequest{Signal: "TERM", Other: true})
	require.ErrorIs(t, err, &api.Error{Code: api.CodeForbidden}, "the agent itself")
	require.NoError(t, c.SignalProcess(t.Context(), pid, api.SignalRequest{Signal: "sigterm", Other: true}),
		"also without its start")
	require.ErrorContains(t, <-ended, "terminated")
}
