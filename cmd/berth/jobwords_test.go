package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// TestTimesThatAreSaid are read as people say them, and what is none is told.
func TestTimesThatAreSaid(t *testing.T) {
	now := time.Date(2026, 11, 30, 17, 19, 0, 0, time.FixedZone("here", 3600))
	for said, want := range map[string]time.Time{
		"2h":                        now.Add(2 * time.Hour),
		"2d":                        now.Add(48 * time.Hour),
		"1d12h":                     now.Add(36 * time.Hour),
		"18:30":                     now.Add(71 * time.Minute),
		"17:00":                     now.Add(23*time.Hour + 41*time.Minute),
		"2026-12-01 08:00":          time.Date(2026, 12, 1, 7, 0, 0, 0, time.UTC),
		"2026-12-01T08:00:30":       time.Date(2026, 12, 1, 7, 0, 30, 0, time.UTC),
		"2026-12-01":                time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC),
		"2026-12-01T08:00:00Z":      time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC),
		"2026-12-01T08:00:00+02:00": time.Date(2026, 12, 1, 6, 0, 0, 0, time.UTC),
		"2020-01-01":                time.Date(2019, 12, 31, 23, 0, 0, 0, time.UTC),
	} {
		got, err := comingMoment(said, now)
		require.NoError(t, err, said)
		require.True(t, want.Equal(got), "%s: %s", said, got)
	}
	for _, said := range []string{"", "-5m", "-1d", "tomorrow", "25:00", "90", "1.5d", "d", "99999999d",
		"9999999h", "2026-13-01"} {
		_, err := comingMoment(said, now)
		require.ErrorContains(t, err, "is no time: say it as", said)
		_, err = readSpan(said)
		require.ErrorContains(t, err, "is no span of time: say it as", said)
	}
	j := api.Job{State: api.JobQueued, Reason: "it waits for its time"}
	j.EstimatedStartAt = time.Now().Add(30 * 24 * time.Hour)
	require.Equal(t, "it waits for its time, about "+j.EstimatedStartAt.Format("Jan 2 15:04"), standing(&j, time.Now()),
		"another day is named")
	j = api.Job{State: api.JobStopping, Supervised: true, Left: []string{"sleep"}}
	require.Equal(t, "stopping: 1 left: sleep", stateWords(&j, time.Now()))
	j = api.Job{State: api.JobRunning}
	require.Equal(t, "running; nothing watches it any more: how it ends is not known then", stateWords(&j, time.Now()))
}

// TestTablesStayAligned where cells at the end are empty.
func TestTablesStayAligned(t *testing.T) {
	var b strings.Builder
	require.NoError(t, table(&b, [][]string{{"ID", "SINCE", "WHAT"}, {"1", "now", "x"}, {"2", "1 second ago", ""},
		{"3", "now", "y"}}))
	require.Equal(t, "ID  SINCE         WHAT\n1   now           x\n2   1 second ago\n3   now           y\n", b.String())
}

// TestWrongCallsOfRun end with 2 and name what is wrong; what a job waits for is said, also to who follows it.
func TestWrongCallsOfRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	for says, args := range map[string]string{
		`--array is empty`:                       "--array= -- true",
		`--begin is empty`:                       "--begin= -- true",
		`no span of time: say it as 90s`:         "--timeout 90 -- true",
		`"-5m" is no time`:                       "--begin=-5m -- true",
		"there is no signal FOO":                 "--signal FOO@5s --timeout 10s -- true",
		"a job can't have -1 GPUs":               "--gpus=-1 -- true",
		`--sync /nosuch: there is no such`:       "--sync /nosuch -- true",
		"-- goes before the command":             "ls -la",
		`"x9" for "--priority" flag`:             "--priority x9 -- true",
		`there is no job 99 to wait for`:         "--after 99 -- true",
		`"1-0" can't be read: 1-0 goes down`:     "--array 1-0 -- true",
		`the working directory /nosuch can't be`: "--workdir /nosuch -- true",
	} {
		r := w.run(append([]string{"run", "vision"}, strings.Fields(args)...)...)
		require.Equal(t, 2, r.code, "%s: %s", args, r.err)
		require.Contains(t, r.err, says)
		require.NotContains(t, r.err, "strconv")
		require.Empty(t, r.out)
	}
	require.Equal(t, "1\n", w.ok("run", "vision", "--hold", "--timeout", "1d", "--", "true"), "nothing of that was taken")
	require.Contains(t, w.run("run", "vision", "--after-failure", "1", "--", "true").err, "it waits for 1 to fail")
	r := w.run("run", "vision", "--follow", "--begin", "1s", "--", "echo", "hi")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "it waits for its time")
	r = w.run("job", "priority", "vision", "3", "7")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "job 3 has succeeded: only what waits has an order")
	require.Contains(t, w.ok("job", "show", "vision", "1"), "held: it is held until it is released")
	r = w.run("job", "cancel", "vision", "98", "1", "99", "2")
	require.Equal(t, 3, r.code, "the others are told all the same")
	require.Equal(t, 2, strings.Count(r.err, "there is no job 9"), r.err)
	require.Equal(t, 130, w.run("job", "wait", "vision", "1", "2").code)
	require.Contains(t, w.run("job", "retry", "vision", "3").err, "a job that has succeeded: only what is done, and did not succeed, is run again (submit it anew)")
	require.Equal(t, 3, w.run("job", "hold", "nobody", "1", "2").code)

	w.ok("run", "vision", "--array", "0-3", "--", "sh", "-c", "exit $BERTH_ARRAY_INDEX")
	require.NotZero(t, w.run("job", "wait", "vision", "4").code)
	require.Contains(t, w.ok("job", "ls", "vision"), "4 of 4 done, 3 failed\n")
	require.NotContains(t, w.ok("job", "show", "vision", "4"), "(run")
}
