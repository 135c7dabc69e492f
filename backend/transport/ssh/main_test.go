package ssh

import (
	"io"
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent"
	"berth/backend/agent/agenttest"
)

// The test binary plays the agent on the "other" side, as a development build of berth does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "agent" {
		os.Exit(agent.Main(os.Args[2:], agent.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	if len(os.Args) == 4 && os.Args[1] == "relay" { // as a ProxyCommand: relay HOST PORT
		os.Exit(relay(net.JoinHostPort(os.Args[2], os.Args[3])))
	}
	agenttest.OnlyTests()
	os.Exit(m.Run())
}

func relay(addr string) int {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error())
		return 1
	}
	go func() { _, _ = io.Copy(c, os.Stdin); _ = c.(*net.TCPConn).CloseWrite() }()
	_, _ = io.Copy(os.Stdout, c)
	return 0
}

// TestThisProgramPlaysWhatItKnows: one that is started as something else runs no tests.
func TestThisProgramPlaysWhatItKnows(t *testing.T) {
	t.Parallel()
	if os.Getenv("BERTH_TEST_PLAYED") != "" {
		t.Fatal("it runs the tests")
	}
	cmd := exec.Command(mustExe(t), "agnet", "start")
	cmd.Env = append(os.Environ(), "BERTH_TEST_PLAYED=1")
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	require.ErrorAs(t, err, &failed, "%s", out)
	require.Equal(t, 2, failed.ExitCode())
	require.Contains(t, string(out), `plays no "agnet"`)
}
