package workspace

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// failures is a log that tells each time the store can't be written.
type failures struct {
	slog.Handler
	seen chan string
}

func (f failures) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "writing the store" {
		r.Attrs(func(a slog.Attr) bool { f.seen <- a.Value.String(); return true })
	}
	return nil
}

// TestDeleteAfterAFullDisk: the disk is full when a stop ends. Once there is space again the user deletes at once,
// before the end of the stop is tried again.
func TestDeleteAfterAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("needs root: to mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	t.Parallel()
	e := newEnv(t)
	e.path = filepath.Join(dir, "x.db")
	filler := filepath.Join(dir, "filler")
	log := failures{slog.NewTextHandler(io.Discard, nil), make(chan string, 1000)}
	e.opts = func(o *Options) {
		o.Log = slog.New(log)
		o.Fault = func(point string) {
			if point == "stop.machine.after" {
				_ = os.WriteFile(filler, make([]byte, 1<<20), 0o600) // as much as there is room for
			}
		}
	}
	w, _ := e.open()
	e.create(w, "vision")
	stop, err := w.Action(e.ctx(), "vision", opStop, api.ActionRequest{})
	require.NoError(t, err)
	for range 5 { // it is tried ever later
		select {
		case why := <-log.seen:
			require.Contains(t, why, "full")
		case <-time.After(time.Minute):
			t.Fatal("the store goes on writing")
		}
	}
	require.NoError(t, os.Remove(filler))
	del, err := w.Action(e.ctx(), "vision", opDelete, api.ActionRequest{})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, w, del).State)
	require.Equal(t, api.OpSucceeded, ended(t, w, stop).State)
	require.Zero(t, w.Len())
}
