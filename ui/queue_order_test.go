package ui_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/ui/uitest"
)

// What waits is moved, one job at a time; priorities change for all that are marked.
func TestJobsAreOrdered(t *testing.T) {
	d := works(t)
	d.Press("[")
	require.Contains(t, d.Screen(), "job 13 is running: only what waits is moved")
	require.Zero(t, logged(d, "job move notebook 13 up"))
	to(d, "16")
	d.Press("[", "]", "{", "}")
	for _, way := range []string{"up", "down", "top", "end"} {
		require.Equal(t, 1, logged(d, "job move notebook 16 "+way), way)
	}
	require.Contains(t, d.Screen(), "$ berth job move notebook 16 end")
	d.Press("-")
	require.Equal(t, 1, logged(d, "job priority notebook 16 -1"))
	require.Contains(t, d.Screen(), "$ berth job priority notebook 16 -- -1")
	d.Press("*", "+")
	for _, id := range []string{"13", "15", "16", "17", "18"} {
		require.Equal(t, 1, logged(d, "job priority notebook "+id+" 1"), id)
	}
	require.Zero(t, logged(d, "job priority notebook 10 1"), "it has ended")
	d.WS.Fail = func(verb, id string) error { return api.Errorf(api.CodeConflict, "no %s of %s", verb, id) }
	d.Press("+")
	require.Contains(t, d.Screen(), "job 13 of notebook: no priority of 13 1")
}

// to puts the cursor on a job.
func to(d *uitest.Driver, id string) {
	d.Press("g")
	for range 50 {
		if strings.Contains(d.Row(), " "+id+" ") {
			return
		}
		d.Press("j")
	}
}

// Those of one priority stand as they will start.
func TestWaitingJobsStandInOrder(t *testing.T) {
	d := works(t)
	list := uitest.Work(uitest.Epoch)
	held := list[len(list)-1]
	for i, order := range []int64{3, 1, 2} {
		id := fmt.Sprint(20 + i)
		x := held
		x.ID, x.Order, x.Name = &id, order, "place-"+fmt.Sprint(order)
		d.WS.PutJobs("i-0002", x)
		d.Pass(time.Second)
	}
	s := d.Screen()
	require.Less(t, strings.Index(s, "place-1"), strings.Index(s, "place-2"))
	require.Less(t, strings.Index(s, "place-2"), strings.Index(s, "place-3"))
}

// What has ended while nobody looked is marked, until it was looked at.
func TestWhatEndedMeanwhileIsMarked(t *testing.T) {
	d := works(t)
	require.NotContains(t, d.Screen(), "new", "the first time nothing is")
	x := uitest.Work(uitest.Epoch)[4]
	x.State, x.EndedAt = api.JobSucceeded, d.Now()
	d.WS.PutJobs("i-0002", x)
	d.Pass(time.Second)
	require.NotContains(t, d.Screen(), "new", "it was seen to end")
	d.Press("esc")
	y := uitest.Work(uitest.Epoch)[5]
	y.State, y.EndedAt = api.JobFailed, d.Now()
	d.WS.PutJobs("i-0002", y)
	d.Press("Q")
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "1 new since you looked")
	to(d, "14")
	require.Contains(t, d.Row(), "new, ")
	to(d, "13")
	require.NotContains(t, d.Row(), "new, ")
	d.Press("esc", "Q")
	d.Pass(time.Second)
	require.NotContains(t, d.Screen(), "new")
}

// A long history is read as far as somebody goes.
func TestALongHistoryIsReadByPages(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	ended := uitest.Work(uitest.Epoch)[0]
	var list []api.Job
	for i := range 450 {
		id, x := fmt.Sprint(1000+i), ended
		x.ID, x.EndedAt = &id, uitest.Epoch.Add(time.Duration(i-1000)*time.Minute)
		list = append(list, x)
	}
	d.WS.PutJobs("i-0002", list...)
	d.To("notebook")
	d.Press("Q")
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "0 run, 0 wait, 200 ended; more further down")
	d.Press("j")
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "200 ended", "nobody went there")
	for range 3 {
		d.Press("G")
		d.Pass(time.Second)
	}
	require.Contains(t, d.Screen(), "450 ended")
	require.NotContains(t, d.Screen(), "further down")
	d.Press("G")
	require.Contains(t, d.Row(), " 1000 ")
}

// A job is submitted again with changes; what the form doesn't show stays.
func TestAJobIsSubmittedAgain(t *testing.T) {
	d := works(t)
	to(d, "10")
	d.Press("E")
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "python train.py --lr 0.5")
	d.Type(" --seed 'a b")
	d.Press("ctrl+s")
	require.Contains(t, d.Screen(), "a ' has no other one behind it")
	d.Type("'")
	for range 7 {
		d.Press("tab")
	}
	d.Type("lots")
	d.Press("ctrl+s")
	require.Contains(t, d.Screen(), "an amount is needed: 8GB")
	for range 4 {
		d.Press("backspace")
	}
	d.Press("ctrl+s")
	d.Pass(time.Second)
	require.Equal(t, 1, logged(d, `job submit notebook ["python" "train.py" "--lr" "0.5" "--seed" "a b"]`))
	require.Contains(t, d.Lines()[0], "job-100")
	d.Press("esc")
	d.Press("E")
	d.Pass(time.Second)
	d.WS.Fail = func(verb, _ string) error {
		return api.Errorf(api.CodeRefused, "the disk is full").WithHint("free some")
	}
	d.Press("ctrl+s")
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "the disk is full")
	d.Press("esc")
	require.Contains(t, d.Lines()[0], "queue")
}
