package job

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/queue"
)

// TestAFullDisk: a submit that can't be written is refused with words, the end of what runs is kept, and all goes on
// once there is room.
func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=600k"); err != nil {
		t.Skipf("needs root: to mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	l, r, _ := opened(t, dir)
	id := submitted(t, l, spec("true"))
	eventually(t, "it starts", r.has(&r.started, id))
	fill := filepath.Join(dir, "fill")
	f, err := os.Create(fill)
	require.NoError(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	require.NoError(t, f.Close())
	big := spec("echo", strings.Repeat("x", 100_000))
	for err = nil; err == nil; {
		_, err = l.submit(t.Context(), big)
	}
	require.Equal(t, api.CodeRefused, api.AsError(err).Code, err)
	require.Contains(t, api.AsError(err).Message, "disk is full")
	l.emit(queue.Event{ID: id, Attempt: 1, Ended: &queue.Ended{At: time.Now(), Exit: 0}})
	require.NoError(t, os.Remove(fill))
	eventually(t, "the end is written", func() bool {
		j, err := l.job(t.Context(), id)
		return err == nil && j.State == queue.Succeeded
	})
	eventually(t, "submits are taken again", func() bool { _, err := l.submit(t.Context(), spec("true")); return err == nil })
}
