package ui_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/ui"
	"berth/ui/uitest"
)

// The dashboard rings when a job ends that it has seen run: once, on whatever screen, for many at once once, and not
// for what was over before, was short, or was cancelled.
func TestTheDashboardRingsForJobs(t *testing.T) {
	list := uitest.Small(uitest.Epoch)
	rings := func(name string, j *api.Job, more int) string { return fmt.Sprintf("%s %s +%d", name, *j.ID, more) }
	d := uitest.Drive(uitest.Options{Width: 100, Height: 30, Look: uitest.Plain, Config: ui.Config{JobBell: rings}},
		list...)
	t.Cleanup(d.Close)
	jobs := uitest.Work(uitest.Epoch)
	d.WS.PutJobs("i-0002", jobs...)
	counts := func(run, wait int) {
		uitest.JobCounts(d.WS, "i-0002", api.JobCounts{Running: run, Waiting: wait})
		d.Settle()
		d.Pass(5 * time.Second)
	}
	of := func(id string) *api.Job {
		for i := range jobs {
			if *jobs[i].ID == id {
				return &jobs[i]
			}
		}
		t.Fatal(id)
		return nil
	}
	counts(3, 4)
	require.Empty(t, d.Rung, "what was before")
	was := asked(d)
	d.Pass(time.Hour)
	require.Equal(t, was, asked(d), "a quiet queue is asked nothing")

	x := *of("13")
	x.State, x.EndedAt = api.JobSucceeded, d.Now()
	d.WS.PutJobs("i-0002", x)
	counts(2, 4)
	require.Equal(t, []string{"notebook 13 +0"}, d.Rung)
	d.WS.PutJobs("i-0002", x) // who was told of it is noted with it
	counts(3, 4)
	counts(2, 4)
	require.Len(t, d.Rung, 1, "once")

	// Short ones, and those that somebody cancelled, are passed over; several at once ring once.
	begun := func(n int, took time.Duration, cause string) api.Job {
		id := fmt.Sprint(n)
		j := api.Job{ID: &id, Name: "x", State: api.JobRunning, SubmittedAt: d.Now(), StartedAt: d.Now()}
		d.WS.PutJobs("i-0002", j)
		j.State, j.EndedAt, j.Cause = api.JobFailed, d.Now().Add(took), cause
		return j
	}
	short, cancelled := begun(100, time.Second, "exit"), begun(101, time.Hour, "cancelled")
	long, other := begun(102, time.Hour, "exit"), begun(103, time.Hour, "exit")
	counts(6, 4)
	d.WS.PutJobs("i-0002", short, cancelled)
	counts(4, 4)
	require.Len(t, d.Rung, 1)
	d.Press("Q")
	d.WS.PutJobs("i-0002", long, other)
	counts(2, 4)
	require.Len(t, d.Rung, 2, d.Rung)
	require.True(t, strings.HasSuffix(d.Rung[1], " +1"), d.Rung)
}
