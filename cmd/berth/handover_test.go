package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/base/version"
)

// counting is an exec under way that prints a number each time that it is told to.
type counting struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr bytes.Buffer
	n      int
}

// count begins one through cmd, a berth exec of `sh -c countScript`.
func count(t *testing.T, cmd *exec.Cmd) *counting {
	t.Helper()
	c := &counting{t: t, cmd: cmd}
	var err error
	c.in, err = cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	c.out = bufio.NewReader(out)
	cmd.Stderr = &c.stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	c.next()
	return c
}

// countScript answers each line that it reads with the next number, and ends with code 7 at the end of its input.
const countScript = `n=0; while read -r l; do n=$((n+1)); echo "$n $l"; done; echo over; exit 7`

// next has it print a number, and wants it whole.
func (c *counting) next() {
	c.t.Helper()
	c.n++
	_, err := fmt.Fprintf(c.in, "line-%d\n", c.n)
	require.NoError(c.t, err)
	line, err := c.out.ReadString('\n')
	if err != nil {
		_ = c.cmd.Wait() // it has ended; now its stderr is whole
		c.t.Fatalf("%v: %s", err, c.stderr.String())
	}
	require.Equal(c.t, fmt.Sprintf("%d line-%d\n", c.n, c.n), line)
}

// end ends its input, and wants the rest of its output and its exit code.
func (c *counting) end() {
	c.t.Helper()
	require.NoError(c.t, c.in.Close())
	rest, err := io.ReadAll(c.out)
	require.NoError(c.t, err)
	require.Equal(c.t, "over\n", string(rest))
	_ = c.cmd.Wait()
	require.Equal(c.t, 7, c.cmd.ProcessState.ExitCode(), c.stderr.String())
	require.Empty(c.t, c.stderr.String())
}

// TestDaemonHandsOver has a daemon make way for a newer one while an exec and an operation are under way: the operation
// goes on in the next daemon, the exec through the first, which stays for nothing else.
func TestDaemonHandsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	first := w.pid()
	gate := filepath.Join(t.TempDir(), "gate")
	script := filepath.Join(t.TempDir(), "setup.sh")
	require.NoError(t, os.WriteFile(script, []byte("until [ -e '"+gate+"' ]; do sleep 0.02; done\necho once >>more\n"),
		0o600))
	w.ok("setup", "vision", "--setup", script, "--no-wait")
	c := count(t, w.cmd(context.Background(), "exec", "vision", "--", "sh", "-c", countScript))

	older := version.Version{Number: "0.0.1"}
	require.ErrorIs(t, w.client().Daemon().HandOver(t.Context(), older), &api.Error{Code: api.CodeRefused})
	require.Equal(t, first, w.pid(), "no older one takes over")
	warm := w.client()
	_, err := warm.Daemon().Info(t.Context())
	require.NoError(t, err)
	asking, enough := context.WithCancel(t.Context())
	asked := make(chan error, 1)
	go func() { // calls that come at any moment of it are answered, by the one or by the other
		for asking.Err() == nil {
			_, err := warm.Instances(t.Context(), api.ListOptions{})
			if err != nil && !errors.Is(err, &api.Error{Code: api.CodeUnreachable}) { // none serves yet: it starts none
				asked <- err
				return
			}
		}
		asked <- nil
	}()
	require.NoError(t, warm.Daemon().HandOver(t.Context(), version.Version{Number: "99.0.0"}))

	w.ok("ls")
	enough()
	require.NoError(t, <-asked)
	second := w.pid()
	require.NotEqual(t, first, second)
	c.next()
	info, err := warm.Daemon().Info(t.Context())
	require.NoError(t, err, "a client that was connected to the first is told to ask again")
	require.Equal(t, second, info.PID)
	require.NotNil(t, w.show("vision").Operation, "the operation goes on")
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	eventually(t, "it ends", func() bool { return w.show("vision").Operation == nil })
	require.Equal(t, "once\n", w.ok("exec", "vision", "--", "cat", "more"))
	require.Contains(t, w.ok("doctor"), fmt.Sprintf("pid %d, version", first))
	c.next()
	files := openFiles(t, first)
	require.NotContains(t, files, w.at().Store(), "it has given up the store")
	require.NotContains(t, files, w.at().DaemonLock()+"\n", "and the lock")
	c.end()
	eventually(t, "the first daemon ends with its last stream", func() bool { return syscall.Kill(first, 0) != nil })
	require.NotContains(t, w.ok("doctor"), "older daemon")
	require.Equal(t, second, w.pid())
	require.Contains(t, w.ok("daemon", "logs"), "stays until its byte streams have ended")
}

// openFiles lists the files that a process has open, one a line.
func openFiles(t *testing.T, pid int) string {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	require.NotEmpty(t, fds)
	var b strings.Builder
	for _, fd := range fds {
		target, _ := os.Readlink(fd) // it may be closed meanwhile
		b.WriteString(target + "\n")
	}
	return b.String()
}

// TestStopEndsWhatHasHandedOver ends both daemons of a home, and with the older one its exec.
func TestStopEndsWhatHasHandedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	first := w.pid()
	c := count(t, w.cmd(context.Background(), "exec", "vision", "--", "sh", "-c", countScript))
	require.NoError(t, w.client().Daemon().HandOver(t.Context(), version.Version{Number: "99.0.0"}))
	w.ok("ls")
	w.ok("daemon", "stop")
	eventually(t, "the first daemon ends", func() bool { return syscall.Kill(first, 0) != nil })
	_ = c.cmd.Wait()
	require.Equal(t, 6, c.cmd.ProcessState.ExitCode())
	require.Contains(t, c.stderr.String(), "the line broke")
}
