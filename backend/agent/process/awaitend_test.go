package process

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu/procs/proc"
)

func TestAwaitEnd(t *testing.T) {
	id := apart(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, AwaitEnd(ctx, id), context.DeadlineExceeded)
	require.ErrorIs(t, pollEndOf(ctx, id), context.DeadlineExceeded)
	other := id
	other.Start--
	require.NoError(t, AwaitEnd(t.Context(), other), "the number is another's now")
	for _, wait := range []func(context.Context, proc.Identity) error{AwaitEnd, pollEndOf} {
		id := apart(t)
		ended := make(chan error, 1)
		go func() { ended <- wait(t.Context(), id) }()
		select {
		case err := <-ended:
			require.Fail(t, "it lives", "%v", err)
		case <-time.After(10 * time.Millisecond):
		}
		require.NoError(t, id.Signal(syscall.SIGKILL))
		require.NoError(t, <-ended)
		require.Equal(t, proc.Gone, id.Look())
		require.NoError(t, wait(t.Context(), id))
	}
}

// apart starts a process that is no child of this one.
func apart(t *testing.T) proc.Identity {
	t.Helper()
	out, err := exec.Command("sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!").Output()
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	require.NoError(t, err)
	id, err := proc.Identify(pid)
	require.NoError(t, err)
	t.Cleanup(func() { _ = id.Signal(syscall.SIGKILL) })
	return id
}
