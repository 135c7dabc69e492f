package ports

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	agentexec "berth/backend/agent/exec"
	"berth/backend/agent/part"
	"berth/backend/agent/server"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
	"berth/backend/transport/forward"
)

func TestMain(m *testing.M) { servertest.Main(m) }

func serve(t *testing.T, parts ...func(*part.Host) part.Part) (part.Options, *api.AgentClient) {
	t.Helper()
	o := agenttest.Options(t)
	_, c := servertest.Serve(t, server.Config{Options: o, Parts: parts})
	return o, c
}

// to forwards to a target and returns one connection there, and what was said of failures.
func to(t *testing.T, c *api.AgentClient, target forward.Target) (net.Conn, chan error) {
	t.Helper()
	said := make(chan error, 10)
	f, err := forward.Listen(forward.Options{Spec: forward.Spec{Target: target}, Instance: "t",
		Open: forward.To("t", api.PortsOf(c), target), Failed: func(err error) { said <- err }})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = f.Serve(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	conn, err := net.Dial("tcp", f.Local().Address)
	if err != nil { // it was reset at once
		return nil, said
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, said
}

// hello listens and says hello to each connection.
func hello(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Skipf("listening at %s: %v", address, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello")
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l
}

// TestForwardToWhatListens: at either family's loopback, at another address, on a socket.
func TestForwardToWhatListens(t *testing.T) {
	o, c := serve(t, New)
	sock := filepath.Join(o.Home, "s")
	for _, at := range [][2]string{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}, {"tcp4", "127.0.0.99:0"}, {"unix", sock}} {
		l := hello(t, at[0], at[1])
		targets := []forward.Target{{Socket: sock}, {Socket: "~/s"}}
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			targets = []forward.Target{{Port: a.Port}}
		}
		for _, target := range targets {
			conn, _ := to(t, c, target)
			b, err := io.ReadAll(conn)
			require.NoError(t, err, "%v", at)
			require.Equal(t, "hello", string(b), "%v", at)
		}
	}
}

// TestForwardToNothing says what is wrong.
func TestForwardToNothing(t *testing.T) {
	o, c := serve(t, New)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	require.NoError(t, l.Close())
	dead := filepath.Join(o.Home, "dead")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: dead}))
	require.NoError(t, syscall.Close(fd))
	for _, x := range []struct {
		target forward.Target
		says   string
	}{
		{forward.Target{Port: port}, fmt.Sprintf("nothing listens on port %d of the instance (connection refused)", port)},
		{forward.Target{Socket: o.Home + "/none"}, "there is no socket " + o.Home + "/none on the instance"},
		{forward.Target{Socket: dead}, "nothing listens on the socket " + dead},
		{forward.Target{Socket: o.Home}, "nothing listens on the socket " + o.Home},
		{forward.Target{Socket: "relative"}, "is no absolute path"},
		{forward.Target{Port: 70000}, "70000 is no port"},
		{forward.Target{}, "one of them is to be said"},
	} {
		conn, said := to(t, c, x.target)
		if conn != nil {
			_, err := io.ReadAll(conn)
			require.Error(t, err, "%+v", x)
		}
		require.ErrorContains(t, <-said, x.says)
	}
}

// TestTheList names what listens with its process and whose it is: also below a command that runs for a client.
func TestTheList(t *testing.T) {
	o, c := serve(t, New, agentexec.New)
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3")
	}
	own := hello(t, "tcp4", "127.0.0.1:0").Addr().(*net.TCPAddr).Port
	st, err := c.OpenExec(t.Context(), servertest.Sh("exec "+python+` -c '
import os, socket, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
u = socket.socket(socket.AF_UNIX); u.bind(os.path.abspath("u")); u.listen()
open("port.new", "w").write(str(s.getsockname()[1])); os.rename("port.new", "port")
if os.fork(): time.sleep(1000)
time.sleep(1000)'`))
	require.NoError(t, err)
	defer st.Close()
	var port string
	agenttest.Eventually(t, "it to listen", func() bool {
		b, err := os.ReadFile(filepath.Join(o.Workdir, "port"))
		port = string(b)
		return err == nil
	})
	find := func(list api.Ports, port string) *api.Port {
		for i, p := range list.Ports {
			if fmt.Sprint(p.Port) == port || p.Socket != "" && p.Socket == port {
				return &list.Ports[i]
			}
		}
		return nil
	}
	agenttest.Eventually(t, "both of its processes to hold it", func() bool {
		list, err := api.PortsOf(c).List(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, list.Network)
		p := find(list, port)
		return p != nil && p.Processes == 2
	})
	list, err := api.PortsOf(c).List(t.Context())
	require.NoError(t, err)
	p := find(list, port)
	require.Equal(t, []string{"127.0.0.1"}, p.Addresses)
	require.Equal(t, "exec", p.Owner.Kind)
	require.Contains(t, p.Command, "python")
	require.NotEmpty(t, p.User)
	require.Empty(t, p.Note)
	require.Equal(t, p.PID, find(list, filepath.Join(o.Workdir, "u")).PID)
	require.Nil(t, find(list, o.Socket), "the agent's own")
	mine := find(list, fmt.Sprint(own))
	require.Equal(t, os.Getpid(), mine.PID)
	require.Equal(t, "agent", mine.Owner.Kind, "this test is the agent, too")
}

// TestAnothersProcess is said to be not visible. The agent is another user's.
func TestAnothersProcess(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to be another user")
	}
	l := hello(t, "tcp4", "127.0.0.1:0")
	// A thread can't be another user to /proc for itself alone: the listing runs in a process of another user.
	cmd := exec.Command(agenttest.Program(t), "-test.run=TestHelperLists", "-test.v")
	dir, err := os.MkdirTemp("/tmp", "bp")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o777))
	b, err := os.ReadFile(agenttest.Program(t))
	require.NoError(t, err)
	cmd.Path = filepath.Join(dir, "test")
	require.NoError(t, os.WriteFile(cmd.Path, b, 0o755))
	cmd.Dir = dir
	cmd.Env = []string{"BERTH_LIST=1", "HOME=" + dir, "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	want := fmt.Sprintf("%d root 0 not visible (another user's)", l.Addr().(*net.TCPAddr).Port)
	require.True(t, strings.Contains(string(out), want), "%s: not %s", out, want)
}

// TestHelperLists prints the list, for TestAnothersProcess; it is no test of its own.
func TestHelperLists(t *testing.T) {
	if os.Getenv("BERTH_LIST") == "" {
		return
	}
	_, c := serve(t, New)
	list, err := api.PortsOf(c).List(t.Context())
	require.NoError(t, err)
	for _, p := range list.Ports {
		fmt.Println(p.Port, p.User, p.PID, p.Note)
	}
}

// TestOlderAgent has no such part, and that is said by its name.
func TestOlderAgent(t *testing.T) {
	_, c := serve(t)
	_, err := api.PortsOf(c).List(t.Context())
	require.Equal(t, api.CodeVersion, api.AsError(err).Code)
	require.ErrorContains(t, forward.TooOld("vision", err), "the agent on vision is too old for listing its ports")
	_, said := to(t, c, forward.Target{Port: 80})
	err = <-said
	require.ErrorContains(t, err, "the agent on t is too old for forward")
	require.Contains(t, api.AsError(err).Hint, "updated")
}
