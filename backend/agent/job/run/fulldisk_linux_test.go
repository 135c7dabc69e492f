package run

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

// TestAFullDisk: the end of a running job is kept, and a job that can't be begun is begun once there is room.
func TestAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to mount a small file system")
	}
	w := newWorld(t)
	if err := syscall.Mount("tmpfs", w.Options.State, "tmpfs", 0, "size=512k,mode=0700"); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(w.Options.State, syscall.MNT_DETACH) })
	q := w.script(1, "echo up; while ! [ -e go ]; do sleep 0.01; done; echo lost in a full disk; exit 5")
	w.Start(w.ctx, q)
	w.says(q, "up")
	require.NoError(t, os.WriteFile(w.Options.LogPath(), nil, 0o600))
	ballast := filepath.Join(w.Options.State, "ballast")
	require.Error(t, exec.Command("sh", "-c", "cat /dev/zero >"+ballast).Run())
	next := w.script(2, "exit 6")
	w.Start(w.ctx, next)
	d := w.await(next, "the delay", func(e queue.Event) bool { return e.Delayed != nil }).Delayed
	require.Contains(t, d.Why, " has 0 B left")
	require.NoError(t, os.WriteFile(filepath.Join(w.Options.Workdir, "go"), nil, 0o600))
	require.Equal(t, 5, w.ended(q).Exit)
	require.NoError(t, os.Remove(ballast))
	require.Equal(t, 6, w.ended(next).Exit)
	w.Wait()
}
