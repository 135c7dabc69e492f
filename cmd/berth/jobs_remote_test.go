package main

import (
	"context"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

// TestAJobOutlivesTheLaptop is what the queue is for, over a real sshd: a job is submitted and followed, the client and
// its daemon are killed and the line is cut in the middle of it, and later it is found finished, once, with its log and
// its own exit code.
func TestAJobOutlivesTheLaptop(t *testing.T) {
	t.Parallel()
	w, s := remoteWorld(t, sshdtest.Options{})
	w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	cmd := w.cmd(context.Background(), "run", "gpu1", "--follow", "--shell", "--",
		"echo begun >>runs; echo epoch 1; while [ ! -e go-on ]; do sleep 0.1; done; echo epoch 2; exit 7")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	const id = "1" // the first of a new queue
	var said strings.Builder
	buf := make([]byte, 256)
	for !strings.Contains(said.String(), "epoch 1\n") {
		n, err := out.Read(buf)
		require.NoError(t, err, "it was followed up to %q", said.String())
		said.Write(buf[:n])
	}

	require.NoError(t, cmd.Process.Kill())
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	require.NoError(t, syscall.Kill(w.pid(), syscall.SIGKILL))
	s.Kill()
	time.Sleep(200 * time.Millisecond) // nobody is there for a while
	s.Restart()

	require.Equal(t, api.JobRunning, w.job("gpu1", id).State)
	w.ok("exec", "gpu1", "--", "touch", "go-on")
	r := w.run("job", "wait", "gpu1", id)
	require.Equal(t, 7, r.code, r.err)
	require.Equal(t, "epoch 1\nepoch 2\n", w.ok("job", "logs", "gpu1", id))
	require.Equal(t, "begun\n", w.ok("exec", "gpu1", "--", "cat", "runs"))
	j := w.job("gpu1", id)
	require.Equal(t, []any{api.JobFailed, 7, "exit", 1}, []any{j.State, *j.ExitCode, j.Cause, j.Attempt})
}
