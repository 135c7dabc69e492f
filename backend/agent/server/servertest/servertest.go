// Package servertest runs agents, of any parts, for tests.
package servertest

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/login"
	"berth/backend/agent/server"
	"berth/backend/agent/shim"
	"berth/backend/api"
	"berth/backend/transport/wire"
	"berth/gpu/probe/child"
)

// Main runs a part's tests; TestMain calls it. Their program also plays what an agent starts, as a development build
// of berth does: shims, probes of GPUs, and what the login shell runs to print its environment.
func Main(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "agent" {
		switch rest := os.Args[3:]; os.Args[2] {
		case "shim":
			os.Exit(shim.Main(rest))
		case "probe":
			os.Exit(child.Main(rest, os.Stdin, os.Stdout, os.Stderr, child.Portable()...))
		case "env":
			if login.PrintEnv(rest[0], os.Stdout) != nil {
				os.Exit(1)
			}
			os.Exit(0)
		}
		os.Exit(2)
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "4") // they wait more than they work
	agenttest.OnlyTests()
	os.Exit(m.Run())
}

// Quiet is a log that nobody reads.
var Quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// Serve runs an agent in this process until the test ends; what its parts have started is ended first.
func Serve(t testing.TB, c server.Config) (*server.Agent, *api.AgentClient) {
	t.Helper()
	c.Log = cmp.Or(c.Log, Quiet)
	a, err := server.New(t.Context(), c)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- a.Serve() }()
	client := server.NewClient(c.Socket)
	t.Cleanup(func() {
		last := server.NewClient(c.Socket)
		_ = last.Stop(context.Background(), api.StopRequest{End: true, GraceSeconds: 0.2})
		last.Close()
		a.Signal(syscall.SIGTERM)
		client.Close()
		require.NoError(t, <-done)
	})
	return a, client
}

// Ran is what came of a command.
type Ran struct {
	wire.ExitStatus
	Stdout, Stderr string
}

// Execute runs a command through an agent.
func Execute(t testing.TB, c *api.AgentClient, req api.ExecRequest, in string) (Ran, error) {
	t.Helper()
	s, err := c.OpenExec(t.Context(), req)
	require.NoError(t, err)
	var out, errOut bytes.Buffer
	x, err := s.Run(t.Context(), api.StreamIO{Stdin: strings.NewReader(in), Stdout: &out, Stderr: &errOut})
	return Ran{x, out.String(), errOut.String()}, err
}

// Sh is a request that runs a script.
func Sh(script string) api.ExecRequest { return api.ExecRequest{Argv: []string{"sh", "-c", script}} }
