package main

import (
	"encoding/csv"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// TestJobsAreOrderedAndForgotten: priority and place of what waits are changed, what is done is forgotten with its log,
// and lists have ids for scripts and for the shell's completion.
func TestJobsAreOrderedAndForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	r := w.run("run", "vision", "--follow", "--name", "first, \"quoted\"", "--", "sh", "-c", "echo hello; exit 3")
	require.Equal(t, 3, r.code, r.err)
	log := w.job("vision", "1").LogPath
	require.FileExists(t, log)
	for range 2 {
		w.ok("run", "vision", "--hold", "--", "true")
	}

	w.ok("job", "priority", "vision", "3", "7")
	require.Equal(t, 7, w.job("vision", "3").Priority)
	w.ok("job", "priority", "vision", "3", "--", "-7")
	require.Equal(t, -7, w.job("vision", "3").Priority)
	w.ok("job", "move", "vision", "3", "top")
	for args, code := range map[string]int{
		"priority vision 3 high": 2, "priority vision 3 9999999999": 2, "move vision 3 sideways": 2,
		"priority vision 1 5": 1, "move vision 1 top": 1, "rm vision 2": 1, "rm vision 9": 3, "ls vision --csv --json": 2,
	} {
		r := w.run(append([]string{"job"}, strings.Fields(args)...)...)
		require.Equal(t, code, r.code, "%s: %s", args, r.err)
	}

	r = w.run("job", "ls", "vision", "--csv")
	require.Zero(t, r.code, r.err)
	rows, err := csv.NewReader(strings.NewReader(r.out)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 4)
	require.Equal(t, []string{"id", "name", "state", "exit_code"}, rows[0][:4])
	require.Equal(t, []string{"1", `first, "quoted"`, "failed", "3"}, rows[3][:4])

	require.Contains(t, w.run("__complete", "job", "retry", "vision", "").out, "1\tfirst")
	require.NotContains(t, w.run("__complete", "job", "release", "vision", "").out, "1\tfirst")
	require.Contains(t, w.run("__complete", "job", "release", "vision", "3", "").out, "2\ttrue")
	require.Contains(t, w.run("__complete", "job", "move", "vision", "3", "").out, "top")
	require.Contains(t, w.run("__complete", "run", "vision", "--after", "").out, "1\tfirst")
	r = w.run("__complete", "run", "vision", "--after", "any:1,")
	require.Contains(t, r.out, "any:1,2\ttrue")
	require.NotContains(t, r.out, "any:1,1\t")
	r = w.run("run", "vision", "--workdir", "/nowhere", "--", "true")
	require.Equal(t, 2, r.code, r.err)
	require.Contains(t, r.err, "/nowhere")

	w.ok("job", "rm", "vision", "1")
	require.NoFileExists(t, log)
	require.Equal(t, 3, w.run("job", "show", "vision", "1").code)
	w.ok("job", "cancel", "vision", "2")
	w.ok("job", "rm", "vision", "2")
	entries, err := os.ReadDir(strings.TrimSuffix(log, "/1/1/log") + "-removed")
	require.NoError(t, err)
	require.Empty(t, entries)
	require.Equal(t, api.JobHeld, w.job("vision", "3").State)
	require.Equal(t, "4", strings.TrimSpace(w.run("run", "vision", "--hold", "--", "true").out), "no id is given twice")
}

// TestEarlierRunsAreShown with a job, and with an element of an array.
func TestEarlierRunsAreShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	id := w.submit("--array", "0-1", "--", "sh", "-c", "echo $BERTH_ATTEMPT; exit $((BERTH_ARRAY_INDEX * (4 - BERTH_ATTEMPT)))")
	require.Equal(t, 3, w.run("job", "wait", "vision", id+"_1").code)
	w.run("job", "wait", "vision", id)
	require.Empty(t, w.job("vision", id+"_1").Attempts)
	w.ok("job", "retry", "vision", id+"_1")
	require.Equal(t, 2, w.run("job", "wait", "vision", id+"_1").code)
	j := w.job("vision", id+"_1")
	require.Len(t, j.Attempts, 1)
	a := j.Attempts[0]
	require.Equal(t, 1, a.Attempt)
	require.Equal(t, 3, *a.ExitCode)
	require.EqualValues(t, 2, a.LogBytes)
	require.False(t, a.EndedAt.Before(a.StartedAt))
	require.Regexp(t, `run 1 .*exit code 3.*--run 1`, w.ok("job", "show", "vision", id+"_1"))
	require.Equal(t, "1\n", w.ok("job", "logs", "vision", id+"_1", "--run", "1"))
}
