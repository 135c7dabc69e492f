package agent

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/server"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
	"berth/backend/base/paths"
)

// The limits of the small programs. What is linked into them, rules in cmd/berth/structure_test.go say.
const (
	agentSize = 24 << 20      // bytes, stripped: it is copied to instances
	shimSize  = 3<<20 + 1<<19 // bytes, stripped
	startCost = 12            // of the processor, from the start to the first answer; 1 is a start of the shim
	restRSS   = 40 << 20      // bytes, once it has run a command
)

// smallMains builds the small programs into a folder.
func smallMains(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go tool is not installed")
	}
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir,
		"berth/cmd/berth-agent", "berth/cmd/berth-shim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}

// placed is the small agent as it lies on instances: named by its content, so that it need not read itself for that.
func placed(t testing.TB, dir string) string {
	t.Helper()
	path, err := paths.CopyProgram(filepath.Join(dir, "berth-agent"), filepath.Join(dir, "bin"), "berth-agent")
	require.NoError(t, err)
	return path
}

// firstAnswer starts the small agent and waits for its first answer.
func firstAnswer(t testing.TB, program string, o Options) (*exec.Cmd, *api.AgentClient) {
	t.Helper()
	cmd := exec.Command(program, append([]string{"run"}, o.Args()...)...)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	c := NewClient(o.Socket)
	t.Cleanup(c.Close)
	agenttest.Eventually(t, "the agent's first answer", func() bool {
		_, err := c.Info(t.Context())
		return err == nil
	})
	return cmd, c
}

// used is what a program that has ended took of the processor.
func used(cmd *exec.Cmd) time.Duration {
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

func TestSmallMainsAreStaticAndSmall(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds two programs")
	}
	dir := smallMains(t)
	for name, limit := range map[string]int64{"berth-agent": agentSize, "berth-shim": shimSize} {
		fi, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		t.Logf("%s has %d bytes", name, fi.Size())
		require.Less(t, fi.Size(), limit, name)
	}
	// Terminals run under the small shim.
	path := filepath.Join(dir, "berth-shim")
	_, c := servertest.Serve(t, server.Config{Options: testOptions(t), Parts: parts, Shim: func() string { return path }})
	p := servertest.Attach(t, c, api.TerminalRequest{})
	p.Types("ps -ww -o args= -p $PPID\n")
	p.Sees(path + " 1")

	// A start is short work: the best of several, beside a program that does nothing, since others work on this machine.
	agent, best, unit := placed(t, dir), time.Hour, time.Hour
	for range 8 {
		cmd, _ := firstAnswer(t, agent, testOptions(t))
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
		best = min(best, used(cmd))
		cmd = exec.Command(path)
		_ = cmd.Run() // it says how it is to be called
		unit = min(unit, used(cmd))
	}
	t.Logf("a start takes %v of the processor, that of the shim %v", best, unit)
	require.LessOrEqual(t, best, startCost*unit)

	cmd, c := firstAnswer(t, agent, testOptions(t))
	r, err := servertest.Execute(t, c, sh("echo fine"), "") // the environment of the login shell was captured by then
	require.NoError(t, err)
	require.Equal(t, "fine\n", r.Stdout)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Skip("this system does not say how much memory a process has")
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	var kb int64
	_, err = fmt.Sscan(rest, &kb)
	require.NoError(t, err)
	t.Logf("at rest it has %d KiB of memory", kb)
	require.LessOrEqual(t, kb<<10, int64(restRSS))
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait())
}

// BenchmarkAgentStart is what passes from the start of the small agent to its first answer.
func BenchmarkAgentStart(b *testing.B) {
	agent := placed(b, smallMains(b))
	for b.Loop() {
		cmd, _ := firstAnswer(b, agent, testOptions(b))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
