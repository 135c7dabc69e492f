package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// TestAFolderThatWasDeletedByHand deletes the folder of a local instance: what runs of it is shown, and ended by rm.
func TestAFolderThatWasDeletedByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	require.NotEmpty(t, processes(t, w.home))
	require.NoError(t, os.RemoveAll(filepath.Join(w.home, "instances")))
	eventually(t, "it is said", func() bool {
		ins := w.ls()
		return len(ins) == 1 && ins[0].State == api.StateUnusable
	})
	said := w.ok("doctor")
	require.Contains(t, said, "was deleted, and")
	require.Contains(t, said, "berth rm vision ends them")
	r := w.run("start", "vision")
	require.NotZero(t, r.code)
	require.Contains(t, r.err, "its folder was deleted")
	w.ok("rm", "-y", "vision")
	require.Empty(t, w.ls())
	w.ok("daemon", "stop")
	eventually(t, "no process is left", func() bool { return len(processes(t, w.home)) == 0 })
}
