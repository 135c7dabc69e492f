package job

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/lease"
	"berth/queue"
	"berth/queue/plan"
)

// A lease that somebody has removed while a job has the GPU is taken again, until the job has ended.
func TestALeaseThatIsGone(t *testing.T) {
	l, _, end := opened(t, t.TempDir())
	defer end()
	folder, err := lease.Open([]string{filepath.Join(t.TempDir(), "leases")})
	require.NoError(t, err)
	l.gpus.leases, l.gpus.home = func() (*lease.Folder, error) { return folder, nil }, "here"
	uuids := []string{"GPU-a"}
	own, err := folder.Take(uuids, lease.Holder{Job: "4", Home: "here"})
	require.NoError(t, err)
	id := queue.ID{Number: 4}
	held := map[string][]plan.Holding{"GPU-a": {{ID: id, Attempt: 1, Running: true}}}
	names := map[queue.ID]string{id: "train"}
	look := func(held map[string][]plan.Holding) *lease.Holder {
		l.guard(held, names, folder.Holders(uuids))
		if h, is := folder.Holders(uuids)["GPU-a"]; is {
			return &h
		}
		return nil
	}
	old := time.Now().Add(-time.Hour * 1000)
	require.NoError(t, os.Chtimes(filepath.Join(folder.Dir(), "GPU-a"), old, old))
	for range 3 {
		require.NotNil(t, look(held))
	}
	require.Empty(t, l.guards.held, "the job itself has it")
	fi, err := os.Stat(filepath.Join(folder.Dir(), "GPU-a"))
	require.NoError(t, err)
	require.Less(t, time.Since(fi.ModTime()), time.Hour)

	require.NoError(t, os.Remove(filepath.Join(folder.Dir(), "GPU-a")))
	require.Nil(t, look(held), "it may be about to end")
	h := look(held)
	require.NotNil(t, h)
	require.Equal(t, "train", h.Command)
	_, err = folder.Take(uuids, lease.Holder{Job: "5", Home: "there"})
	require.Error(t, err)
	require.NotNil(t, look(held))
	own.Close()
	require.NotNil(t, look(held), "it is the agent's own")
	require.Nil(t, look(nil))

	// One that ends between two looks, and one that has only begun, are not held.
	require.Nil(t, look(held))
	require.Nil(t, look(map[string][]plan.Holding{"GPU-a": {{ID: id, Attempt: 2, Running: true}}}))
	starts := map[string][]plan.Holding{"GPU-a": {{ID: id, Attempt: 3}}}
	require.Nil(t, look(starts))
	require.Nil(t, look(starts))
}
