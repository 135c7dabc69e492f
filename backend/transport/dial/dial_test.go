package dial

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/agent"
	"berth/backend/agent/agenttest"
	"berth/backend/api"
	"berth/backend/base/paths"
)

// The test binary plays the agent, as a development build of berth does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "agent" {
		os.Exit(agent.Main(os.Args[2:], agent.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	agenttest.OnlyTests()
	os.Exit(m.Run())
}

// TestAnAgentThatIsAwayForAMoment was killed and is started again: who calls it meanwhile gets through.
func TestAnAgentThatIsAwayForAMoment(t *testing.T) {
	dir := t.TempDir()
	run, err := os.MkdirTemp("/tmp", "bt")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	o := agent.Options{State: filepath.Join(dir, "agent"), Socket: filepath.Join(run, "agent.sock"),
		Home: dir, Workdir: dir,
		Scratch: filepath.Join(dir, "scratch"), Shell: "/bin/sh"}
	info, err := agent.Start(t.Context(), o, false)
	require.NoError(t, err)
	t.Cleanup(func() {
		c := agent.NewClient(o.Socket)
		defer c.Close()
		_ = c.Stop(context.Background(), api.StopRequest{End: true, GraceSeconds: 0.1})
	})
	told := make(chan bool, 10)
	d := New(Options{Home: paths.Home{State: dir, Run: run}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		State: func(id string, up bool, _ *api.AgentStatus) { told <- up }})
	defer d.Close()
	var in backend.Endpoint
	in.ID, in.Name, in.State, in.Line = "i", "i", api.StateRunning, backend.Line{Socket: o.Socket}
	ask := func() (api.AgentInfo, error) {
		c := &api.AgentClient{Dial: func(ctx context.Context) (net.Conn, error) { return d.Agent(ctx, in) }}
		defer c.Close()
		return c.Info(t.Context())
	}
	got, err := ask()
	require.NoError(t, err)
	require.Equal(t, info.PID, got.PID)

	require.NoError(t, syscall.Kill(info.PID, syscall.SIGKILL))
	for _, err = net.Dial("unix", o.Socket); err == nil; _, err = net.Dial("unix", o.Socket) {
		time.Sleep(time.Millisecond)
	}
	in.State = api.StateStarting // whoever starts it asks again by itself
	_, err = ask()
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.Equal(t, api.CodeUnreachable, api.AsError(err).Code)
	in.State = api.StateRunning
	type answer struct {
		api.AgentInfo
		error
	}
	answered := make(chan answer, 1)
	go func() {
		info, err := ask()
		answered <- answer{info, err}
	}()
	require.False(t, <-told, "whoever keeps it hears of it before it is there again")
	again, err := agent.Start(t.Context(), o, false)
	require.NoError(t, err)
	a := <-answered
	require.NoError(t, a.error)
	require.Equal(t, again.PID, a.PID)
	require.True(t, <-told)
	require.Empty(t, told, "it is told once")
}
