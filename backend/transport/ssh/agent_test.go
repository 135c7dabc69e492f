package ssh

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

// itself is the AgentBinary of tests: this test binary.
func itself(o *Options) {
	o.StartFlags = []string{"--no-boot"} // this computer's crontab is none of a test's business
	o.AgentBinary = func(context.Context, string, string) (string, error) { return os.Executable() }
}

// agentClient is a client of the agent at the end of c, which is ended with the test.
func agentClient(t testing.TB, c *Conn) *api.AgentClient {
	client := &api.AgentClient{Dial: c.Agent}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		client.Close()
		p, _ := c.agent.known()
		if p == nil {
			return
		}
		// The connection may be gone; the agent is on this computer.
		last := &api.AgentClient{Dial: func(ctx context.Context) (net.Conn, error) {
			if conn, err := client.Dial(ctx); err == nil {
				return conn, nil
			}
			return net.Dial("unix", p.Socket)
		}}
		defer last.Close()
		if err := last.Stop(ctx, api.StopRequest{End: true, GraceSeconds: 0.1}); err != nil {
			t.Errorf("ending the agent: %v", err)
		}
	})
	return client
}

// run runs a command through the agent.
func run(t testing.TB, ctx context.Context, client *api.AgentClient, argv ...string) result {
	t.Helper()
	s, err := client.OpenExec(ctx, api.ExecRequest{Argv: argv})
	require.NoError(t, err)
	var out, err2 bytes.Buffer
	st, err := s.Run(ctx, api.StreamIO{Stdout: &out, Stderr: &err2})
	return result{st, err, out.String(), err2.String()}
}

func TestAgentIsPlacedOnce(t *testing.T) {
	t.Parallel()
	s, w, ctx, c := box(t, sshdtest.Options{}, itself)
	client := agentClient(t, c)
	r := run(t, ctx, client, "printf", "hi")
	require.NoError(t, r.err)
	require.Equal(t, "hi", r.out)
	mask, err := exec.Command("sh", "-c", "umask").Output()
	require.NoError(t, err)
	require.Equal(t, string(mask), run(t, ctx, client, "sh", "-c", "umask").out, "the session's, not the script's")

	info, state := c.Info()
	require.Equal(t, "ready", state.State)
	require.Equal(t, "streamlocal", state.Transport)
	p, _ := c.agent.known()
	require.Equal(t, info.Hash, p.Hash)
	require.Contains(t, p.Program, filepath.Join(s.Home, "state", "berth", "bin", p.Hash))
	b, err := readProgram(mustExe(t))
	require.NoError(t, err)
	st, err := os.Stat(p.Program)
	require.NoError(t, err)
	require.Equal(t, b.built, st.ModTime().UTC(), "the copy has the time of the original")

	// A second manager finds it without looking around: no session is opened, only the socket.
	before := bytes.Count([]byte(s.Log()), []byte("Starting session"))
	w2 := newWorld(t, itself, func(o *Options) { o.Home = w.m.o.Home })
	w2.config = w.config
	c2 := w2.conn(w2.ctx(nil), "box")
	client2 := &api.AgentClient{Dial: c2.Agent}
	defer client2.Close()
	r = run(t, ctx, client2, "printf", "again")
	require.Equal(t, "again", r.out)
	require.Equal(t, before, bytes.Count([]byte(s.Log()), []byte("Starting session")), s.Log())
	eventually(t, "the version is compared in the background", func() bool { i, _ := c2.Info(); return i != nil })
	i2, _ := c2.Info()
	require.Equal(t, info.PID, i2.PID)

	// Once it was stopped, the next call starts it again from the same copy.
	require.NoError(t, client.Stop(ctx, api.StopRequest{End: true}))
	eventually(t, "the agent ends", func() bool { return syscall.Kill(info.PID, 0) != nil })
	r = run(t, ctx, client, "printf", "back")
	require.Equal(t, "back", r.out)
	after, err := os.Stat(p.Program)
	require.NoError(t, err)
	require.Equal(t, st, after)
}

func mustExe(t testing.TB) string {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	return exe
}

func TestNoAgent(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	tries := 0
	w := newWorld(t, func(o *Options) {
		o.StartFlags = []string{"--no-boot"} // this computer's crontab is none of a test's business
		o.AgentBinary = func(context.Context, string, string) (string, error) {
			tries++
			return "", errors.New("there is no agent in this build")
		}
	}).reach(s)
	ctx := w.ctx(nil)
	c := w.conn(ctx, "box")
	for range 2 {
		_, err := c.Agent(ctx)
		var u *backend.AgentUnavailable
		require.ErrorAs(t, err, &u)
		require.Contains(t, u.Reason, "no agent in this build")
	}
	require.Equal(t, 1, tries, "the reason is remembered")
	_, state := c.Info()
	require.Equal(t, AgentState{State: "unavailable", Reason: "there is no agent in this build", Transport: "ssh"}, state)
	require.Equal(t, []AgentState{{State: "connecting"}, state}, w.agents, "it is told")
	r := plain(t, ctx, c, api.ExecRequest{Argv: []string{"echo", "still"}}, "")
	require.Equal(t, "still\n", r.out)
}

func TestNewerAgentReplacesTheOlder(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	old, newer := filepath.Join(t.TempDir(), "berth"), filepath.Join(t.TempDir(), "berth")
	exe, err := os.ReadFile(mustExe(t))
	require.NoError(t, err)
	// The same program with a byte more at its end is another build.
	for i, p := range []string{old, newer} {
		require.NoError(t, os.WriteFile(p, append(exe, make([]byte, i)...), 0o755))
		at := time.Now().Add(time.Duration(i-2) * time.Hour)
		require.NoError(t, os.Chtimes(p, at, at))
	}
	use := func(p string) func(*Options) {
		return func(o *Options) {
			itself(o)
			o.AgentBinary = func(context.Context, string, string) (string, error) { return p, nil }
		}
	}
	w := newWorld(t, use(old)).reach(s)
	c := w.conn(w.ctx(nil), "box")
	client := agentClient(t, c)
	first, err := client.Info(w.ctx(nil))
	require.NoError(t, err)

	w2 := newWorld(t, use(newer), func(o *Options) { o.Home = w.m.o.Home })
	w2.config = w.config
	c2 := w2.conn(w2.ctx(nil), "box")
	conn, err := c2.Agent(w2.ctx(nil))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	eventually(t, "the newer agent runs", func() bool { i, _ := c2.Info(); return i != nil && i.PID != first.PID })
	second, _ := c2.Info()
	require.NotEqual(t, first.Hash, second.Hash)

	// The older one does not come back: what runs is left alone.
	w3 := newWorld(t, use(old), func(o *Options) { o.Home = w.m.o.Home })
	w3.config = w.config
	third, err := w3.conn(w3.ctx(nil), "box").EnsureAgent(w3.ctx(nil))
	require.NoError(t, err)
	require.Equal(t, second.PID, third.PID)
}

func TestRemoveAgent(t *testing.T) {
	t.Parallel()
	s, _, ctx, c := box(t, sshdtest.Options{}, itself)
	require.NoError(t, c.RemoveAgent(ctx), "there is none")
	require.NoError(t, os.WriteFile(filepath.Join(s.Home, "mine"), nil, 0o600))
	info, err := c.EnsureAgent(ctx)
	require.NoError(t, err)
	require.NoError(t, c.RemoveAgent(ctx))
	eventually(t, "the agent ends", func() bool { return syscall.Kill(info.PID, 0) != nil })
	left, err := filepath.Glob(filepath.Join(s.Home, "state", "berth", "bin", "*", "*"))
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoDirExists(t, filepath.Join(s.Home, "state", "berth"))
	require.NoDirExists(t, filepath.Join(s.Home, "state"), "it was made for it")
	require.FileExists(t, filepath.Join(s.Home, "mine"))
	_, err = c.Agent(ctx)
	require.ErrorIs(t, err, errLeaving, "nobody puts it there again in passing")
	require.NoError(t, os.Mkdir(filepath.Join(s.Home, "state"), 0o755))
	_, err = c.EnsureAgent(ctx)
	require.NoError(t, err, "who wants to does")
	require.NoError(t, c.RemoveAgent(ctx))
	require.DirExists(t, filepath.Join(s.Home, "state"), "it was there before")
}
