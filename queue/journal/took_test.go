package journal

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

// TestTook: the median of the last runs of a command that succeeded; others like it don't count.
func TestTook(t *testing.T) {
	j := open(t, t.TempDir())
	long := strings.Repeat("é", 300)
	ran := func(n int64, s queue.State, took time.Duration, argv ...string) {
		c := job(n, argv...)
		c.Spec.Name = "train"
		commit(t, j, c)
		c.Spec = nil
		c.Status.State, c.Status.StartedAt = s, day
		c.Status.PausedFor = time.Minute
		c.Status.EndedAt = day.Add(took + time.Minute)
		c.Status.LogBytes = int64(took.Seconds())
		commit(t, j, c)
	}
	took := func(argv ...string) time.Duration {
		d, log, err := j.Took(t.Context(), &queue.Spec{Name: "train", Argv: argv})
		require.NoError(t, err)
		require.GreaterOrEqual(t, float64(log), d.Seconds())
		return d
	}
	require.Zero(t, took("python", "train.py"))
	n := int64(0)
	for _, minutes := range []int{900, 800, 10, 50, 20, 40, 30} {
		n++
		ran(n, queue.Succeeded, time.Duration(minutes)*time.Minute, "python", "train.py")
	}
	for _, s := range []queue.State{queue.Failed, queue.Cancelled, queue.Running} {
		n++
		ran(n, s, time.Hour, "python", "train.py")
	}
	ran(n+1, queue.Succeeded, time.Hour, "python", "Train.py") // the words are in lower case
	ran(n+2, queue.Succeeded, time.Hour, "python train.py")
	ran(n+3, queue.Succeeded, 7*time.Minute, "sh", "-c", long+"a")
	require.Equal(t, 30*time.Minute, took("python", "train.py"), "the last five")
	require.Equal(t, 7*time.Minute, took("sh", "-c", long+"a"))
	require.Zero(t, took("sh", "-c", long+"b"))
	require.Zero(t, took("python", "other.py"))

	rows, err := j.file.Read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN SELECT * FROM jobs j WHERE j.idx < 0 AND "+
		"j.state = 'succeeded' AND substr(j.words, 1, 200) = substr(?, 1, 200) ORDER BY j.number DESC LIMIT 20", "x")
	require.NoError(t, err)
	defer rows.Close()
	plan := ""
	for rows.Next() {
		var id, parent, unused int
		var what string
		require.NoError(t, rows.Scan(&id, &parent, &unused, &what))
		plan += what + "\n"
	}
	require.NoError(t, rows.Err())
	require.Contains(t, plan, "jobs_took")
	require.NotContains(t, plan, "TEMP B-TREE", "a long history costs nothing")
}
