package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/server"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
	"berth/gpu/procs/proc"
)

const nobody = 65534

func needRoot(t *testing.T, why string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skipf("needs root: %s", why)
	}
}

func TestTenStartsStartOne(t *testing.T) {
	o := testOptions(t)
	exe := testProgram(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	pids := map[int]int{}
	for range 10 {
		wg.Go(func() {
			argv := Command(exe, append([]string{"start"}, o.Args()...)...)
			cmd := exec.Command(argv[0], argv[1:]...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			var info api.AgentInfo
			mu.Lock()
			defer mu.Unlock()
			if err != nil || json.Unmarshal(out, &info) != nil {
				t.Errorf("start: %v: %s", err, stderr.String())
				return
			}
			pids[info.PID]++
		})
	}
	wg.Wait()
	startDetached(t, o) // for its clean-up
	require.Len(t, pids, 1)
	for _, n := range pids {
		require.Equal(t, 10, n)
	}
}

func TestSocketPathTooLongIsSaid(t *testing.T) {
	o := testOptions(t)
	o.Socket = "/tmp/" + strings.Repeat("x", 120) + "/agent.sock"
	var stderr bytes.Buffer
	code := Main(append([]string{"start"}, o.Args()...), Stdio{Out: io.Discard, Err: &stderr})
	require.NotZero(t, code)
	require.Equal(t, 1, strings.Count(stderr.String(), "\n"), "one line")
	require.Contains(t, stderr.String(), "has 136 bytes; the system takes")
}

func TestStaleSocketIsReplacedAndALiveAgentIsNot(t *testing.T) {
	o := testOptions(t)
	l, err := net.Listen("unix", o.Socket)
	require.NoError(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	serve(t, o)
	_, err = newAgent(t, o)
	require.ErrorIs(t, err, server.ErrRunning)
}

func TestAnotherUsersFolderIsRefused(t *testing.T) {
	needRoot(t, "to make a folder of another user")
	o := testOptions(t)
	dir := filepath.Dir(o.Socket)
	require.NoError(t, os.Chown(dir, nobody, nobody))
	_, err := newAgent(t, o)
	require.ErrorContains(t, err, "not a folder of this user")
	require.NoError(t, os.Remove(dir))
	require.NoError(t, os.Symlink(t.TempDir(), dir))
	_, err = newAgent(t, o)
	require.ErrorContains(t, err, "not a folder of this user")
	require.NoError(t, os.Remove(dir))
}

func TestAnotherUserIsRefused(t *testing.T) {
	needRoot(t, "to become another user")
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	o := testOptions(t)
	serve(t, o)
	fi, err := os.Stat(o.Socket)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), fi.Mode().Perm())
	curl := func() (string, error) {
		cmd := exec.Command("curl", "-sS", "--unix-socket", o.Socket, "http://berth/v1/info")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	_, err = curl()
	require.Error(t, err, "the folder is closed")
	// Also if somebody opened folder and socket.
	require.NoError(t, os.Chmod(filepath.Dir(o.Socket), 0o777))
	require.NoError(t, os.Chmod(o.Socket, 0o777))
	out, err := curl()
	require.NoError(t, err)
	require.Contains(t, out, `"code":"forbidden"`)
}

// TestAnotherUserTriesATerminal connects to a terminal's own socket, first as it is and then opened to
// all: its screen, and what is typed there, are nobody else's.
func TestAnotherUserTriesATerminal(t *testing.T) {
	t.Parallel()
	needRoot(t, "to become another user")
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	o := testOptions(t)
	_, c := serve(t, o)
	p := servertest.Attach(t, c, api.TerminalRequest{Rows: 24, Cols: 80})
	p.Types("echo secret-$((1+1))\n")
	p.Sees("secret-2")
	socket := strings.TrimSuffix(o.Socket, ".sock") + ".t" + p.ID
	fi, err := os.Stat(socket)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), fi.Mode().Perm())
	try := func(uid uint32) string {
		cmd := exec.Command("curl", "-sS", "--max-time", "5", "--unix-socket", socket, "telnet://berth")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		cmd.Dir = "/"
		cmd.Stdin = bytes.NewReader(append([]byte("R\x00\x00\x00\x0f"), `{"op":"attach"}`...))
		out, _ := cmd.CombinedOutput() // its end is of no matter: what it got is
		return string(out)
	}
	require.NotContains(t, try(nobody), "secret")
	require.NoError(t, os.Chmod(filepath.Dir(socket), 0o777))
	require.NoError(t, os.Chmod(socket, 0o777))
	require.NotContains(t, try(nobody), "secret", "although it is open to all")
	require.Contains(t, try(0), "secret", "the same words from its user are understood")
}

func TestCurlReachesTheAgentByBothProtocols(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	o := testOptions(t)
	serve(t, o)
	for _, flag := range []string{"--http1.1", "--http2-prior-knowledge"} {
		out, err := exec.Command("curl", "-sS", flag, "-w", " %{http_version}", "--unix-socket", o.Socket,
			"http://berth/v1/info").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), o.InstanceID[:0]+`"socket":"`+o.Socket)
	}
}

func TestHostileNamesInTheEnvironment(t *testing.T) {
	o := testOptions(t)
	o.Instance = "a b'\"$(touch x);\\"
	_, c := serve(t, o)
	r, err := execute(t, c, api.ExecRequest{Argv: []string{"sh", "-c",
		`printf %s "$BERTH_INSTANCE"; printf %s "$ODD"; ls`},
		Env: []string{"ODD=\x1b]0;x\x07\n" + o.InstanceID, "BAD\x00=1", "=", "", "A.B-C=kept", "PATH=/bin:/usr/bin"}}, "")
	require.NoError(t, err)
	require.Equal(t, o.Instance+"\x1b]0;x\x07\n"+o.InstanceID, r.Stdout)
	o.Instance = "two\nlines"
	require.Error(t, o.Check())
}

func TestStopEndsTerminalsAndCommandsOnlyIfAsked(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	p := servertest.Attach(t, c, api.TerminalRequest{New: true})
	require.NoError(t, c.Stop(t.Context(), api.StopRequest{}))
	<-p.Done
	eventually(t, "the agent to end",
		func() bool { _, err := proc.Identify(info.PID); return errors.Is(err, proc.ErrGone) })
	shell, err := proc.Identify(p.PID)
	require.NoError(t, err, "the terminal goes on")

	info, c = startDetached(t, o)
	s, err := c.OpenExec(t.Context(), sh("trap '' HUP; echo; while :; do sleep 1; done"))
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, c.Stop(t.Context(), api.StopRequest{End: true, GraceSeconds: 0.3}))
	require.False(t, shell.Alive())
	eventually(t, "the agent to end",
		func() bool { _, err := proc.Identify(info.PID); return errors.Is(err, proc.ErrGone) })
	require.NoFileExists(t, o.Socket)
}

func TestUninstallRemovesWhatIsItsOwn(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	require.NoError(t, os.WriteFile(filepath.Join(o.Home, "file"), []byte("x"), 0o600))
	p := servertest.Attach(t, c, api.TerminalRequest{New: true})
	err := Uninstall(t.Context(), o, false)
	require.ErrorIs(t, err, &api.Error{Code: api.CodeRefused})
	require.NoError(t, Uninstall(t.Context(), o, true))
	<-p.Done
	eventually(t, "the agent to end",
		func() bool { _, err := proc.Identify(info.PID); return errors.Is(err, proc.ErrGone) })
	require.NoDirExists(t, o.State)
	require.FileExists(t, filepath.Join(o.Home, "file"))
	require.NoError(t, Uninstall(t.Context(), o, true), "twice is fine")
}
