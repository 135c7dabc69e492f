package agent

import (
	"context"
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/process"
	"berth/backend/agent/server"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
)

// The test binary plays the agent's parts, as a development build of berth does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "agent" {
		os.Exit(Main(os.Args[2:], Stdio{os.Stdin, os.Stdout, os.Stderr}))
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "4") // they wait more than they work
	agenttest.OnlyTests()
	os.Exit(m.Run())
}

// testOptions are of an agent with folders of its own.
func testOptions(t testing.TB) Options {
	t.Helper()
	return agenttest.Options(t)
}

// serve runs an agent in this process until the test ends; its terminals are ended first.
func serve(t testing.TB, o Options) (*server.Agent, *api.AgentClient) {
	t.Helper()
	return servertest.Serve(t, server.Config{Options: o, Parts: parts})
}

// newAgent prepares an agent as serve does, and does not run it.
func newAgent(t testing.TB, o Options) (*server.Agent, error) {
	t.Helper()
	return server.New(t.Context(), server.Config{Options: o, Parts: parts, Log: servertest.Quiet})
}

// startDetached starts an agent as its own process, as `berth agent start` does.
func startDetached(t testing.TB, o Options) (api.AgentInfo, *api.AgentClient) {
	t.Helper()
	info, err := Start(t.Context(), o, false)
	require.NoError(t, err)
	c := NewClient(o.Socket)
	t.Cleanup(func() {
		_ = NewClient(o.Socket).Stop(context.Background(), api.StopRequest{End: true, GraceSeconds: 0.2})
		c.Close()
		// What a failed test left without an agent.
		_, _ = process.Set{Mark: "BERTH_INSTANCE_ID=" + o.InstanceID}.End(context.Background(), 0, nil)
	})
	return info, c
}

func execute(t testing.TB, c *api.AgentClient, req api.ExecRequest, in string) (servertest.Ran, error) {
	t.Helper()
	return servertest.Execute(t, c, req, in)
}

func sh(script string) api.ExecRequest { return servertest.Sh(script) }

// eventually polls until ok holds; what names what was awaited.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	agenttest.Eventually(t, what, ok)
}

// testProgram is this program under a name and with a mode that any user can run.
func testProgram(t testing.TB) string {
	t.Helper()
	return agenttest.Program(t)
}
