package ui_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/ui/uitest"
)

// works opens the queue of notebook, which has jobs of each kind.
func works(t *testing.T) *uitest.Driver {
	t.Helper()
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.WS.PutJobs("i-0002", uitest.Work(uitest.Epoch)...)
	d.WS.Print("i-0002", "13", uitest.WorkLog)
	d.To("notebook")
	d.Press("Q")
	d.Pass(time.Second)
	return d
}

// Services stand apart from jobs, with their health, which changes though nothing else does.
func TestServicesInTheQueue(t *testing.T) {
	d := works(t)
	list := uitest.Serving(uitest.Epoch)
	d.WS.PutJobs("i-0002", list...)
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "SERVICES 2")
	require.Contains(t, d.Screen(), "ok, port 8000")
	require.Contains(t, d.Screen(), "failing, port 7860: connection refused, run 4")
	require.Contains(t, d.Screen(), "3 run, 3 wait, 4 ended, 2 services")
	list[1].Health, list[1].Reason = api.HealthOK, ""
	d.WS.Progress("i-0002", list[1])
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "ok, port 7860")
	list[0].State, list[0].EndedAt, list[0].Health = api.JobCancelled, d.Now(), ""
	d.WS.PutJobs("i-0002", list[0])
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "3 run, 3 wait, 5 ended, 1 service")
}

// asked counts how often the queue of notebook was asked for changes.
func asked(d *uitest.Driver) int {
	n := 0
	for _, c := range d.WS.Log() {
		if strings.HasPrefix(c, "changes notebook") {
			n++
		}
	}
	return n
}

// The queue is kept by what changes: a quiet one is asked nothing, a busy one a few times a second, and one that is
// left nothing.
func TestTheQueueFollowsWhatChanges(t *testing.T) {
	d := works(t)
	require.Contains(t, d.Row(), "13")
	was := asked(d)
	d.Pass(time.Hour)
	require.Equal(t, was, asked(d), "it waits for an answer")

	x := uitest.Work(uitest.Epoch)[4]
	for range 50 {
		d.WS.PutJobs("i-0002", x)
		d.Pass(20 * time.Millisecond)
	}
	require.LessOrEqual(t, asked(d)-was, 10, "in a second")
	x.State, x.EndedAt = api.JobSucceeded, d.Now()
	d.WS.PutJobs("i-0002", x)
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "2 run, 3 wait, 5 ended")
	require.Contains(t, d.Row(), "13", "the cursor goes with the job")
	require.Contains(t, d.Row(), "succeeded")

	d.Press("esc")
	was = asked(d)
	d.WS.PutJobs("i-0002", x)
	d.Pass(time.Minute)
	require.Equal(t, was, asked(d), "nobody looks any more")
}

func TestJobsAreTold(t *testing.T) {
	d := works(t)
	d.Press("h")
	require.Contains(t, d.Screen(), "job 13 is running: only what waits is held")
	d.Press("p")
	require.Equal(t, 1, logged(d, "job pause notebook 13"))
	require.Contains(t, d.Screen(), "$ berth job pause notebook 13")
	d.Press("x")
	require.Contains(t, d.Screen(), "Cancel job 13 of notebook?")
	d.Press("n")
	require.Zero(t, logged(d, "job cancel notebook 13"))
	d.Press("x", "y")
	require.Equal(t, 1, logged(d, "job cancel notebook 13"))

	d.Press("*", "h") // those that can be
	require.Equal(t, 3, logged(d, "job hold notebook 15")+logged(d, "job hold notebook 16")+logged(d, "job hold notebook 17"))
	d.Press("a")
	require.Equal(t, 1, logged(d, "job retry notebook 10"))
	require.Zero(t, logged(d, "job retry notebook 13"), "it runs")
	d.WS.Fail = func(verb, id string) error { return api.Errorf(api.CodeConflict, "no %s of %s", verb, id) }
	d.Press("a")
	require.Contains(t, d.Screen(), "3 of 3 could not be told to retry")
	d.WS.Fail = nil
	d.Press("L", "x")
	require.Contains(t, d.Screen(), "read-only")
}

func TestAnArrayIsFoldedToARow(t *testing.T) {
	d := works(t)
	require.NotContains(t, d.Screen(), "15_1")
	d.Press("j", "enter")
	require.Contains(t, d.Screen(), "15_1")
	x := uitest.Work(uitest.Epoch)[9]
	x.State, x.EndedAt = api.JobFailed, d.Now()
	d.WS.PutJobs("i-0002", x)
	d.Pass(time.Second)
	d.Press("j", "j", "j")
	require.Contains(t, d.Row(), "15_2")
	require.Contains(t, d.Row(), "failed", "its elements are kept, too")
	d.Press("k", "k", "k", "enter")
	require.NotContains(t, d.Screen(), "15_1")
	d.WS.PutJobs("i-0002", x)
	d.Pass(time.Second)
	require.NotContains(t, d.Screen(), "15_2")
}

// The log of a job grows on the screen; scrolled up it stays where it is, and a progress bar is one line.
func TestALogIsFollowed(t *testing.T) {
	d := works(t)
	d.Press("enter")
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "epoch 3:  20%")
	require.NotContains(t, d.Screen(), "10%")
	d.WS.Print("i-0002", "13", "\repoch 3:  30%")
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "epoch 3:  30%")
	require.NotContains(t, d.Screen(), "20%")
	d.WS.Print("i-0002", "13", "\n"+strings.Repeat("more\n", 100)+"the end\n")
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "the end")
	require.Contains(t, d.Screen(), "following")
	d.Press("g")
	require.Contains(t, d.Screen(), "loading /data")
	require.Contains(t, d.Screen(), "stays here")
	d.WS.Print("i-0002", "13", "newer\n")
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "loading /data")
	d.Press("G")
	require.Contains(t, d.Screen(), "newer")
	d.Press("/")
	d.Type("epoch")
	require.Contains(t, d.Screen(), "loss 1.87")
	require.NotContains(t, d.Screen(), "more")
	d.Press("enter", "esc")

	x := uitest.Work(uitest.Epoch)[4]
	x.State, x.EndedAt = api.JobSucceeded, d.Now()
	d.WS.PutJobs("i-0002", x)
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "this is all of it")
	require.Contains(t, d.Screen(), "succeeded after")
}

// A stopped instance is not asked; when it runs, it is.
func TestTheQueueOfAStoppedInstance(t *testing.T) {
	list := uitest.Small(uitest.Epoch)
	stopped := list[1]
	stopped.State, stopped.Agent = api.StateStopped, nil
	running := list[1]
	list[1] = stopped
	d := drive(t, list...)
	d.WS.PutJobs("i-0002", uitest.Work(uitest.Epoch)...)
	d.To("notebook")
	d.Press("Q")
	require.Contains(t, d.Screen(), "notebook is stopped: its jobs are on its disk")
	require.Zero(t, asked(d))
	d.WS.Put(running)
	d.Settle()
	d.Pass(10 * time.Second)
	require.NotZero(t, asked(d))
	require.NotContains(t, d.Screen(), "is stopped")
}

// How far a job is stands in its row and grows, as long as it is in sight; a job that is quiet is told nothing of.
func TestProgressIsShown(t *testing.T) {
	d := works(t)
	require.Contains(t, d.Row(), "37%, 4.2 it/s, until about ")
	count := func() (n int) {
		for _, c := range d.WS.Log() {
			if strings.HasPrefix(c, "progress notebook [13 14]") {
				n++
			}
		}
		return n
	}
	was := count()
	require.NotZero(t, was)
	d.Pass(time.Minute)
	require.LessOrEqual(t, count(), was+1, "it waits for an answer")
	x := uitest.Work(uitest.Epoch)[4]
	for i := range 10 {
		part := 40 + float64(i)
		x.ProgressPercent = &part
		d.WS.Progress("i-0002", x)
		d.Pass(200 * time.Millisecond)
	}
	d.Pass(time.Second)
	require.Contains(t, d.Row(), "49%")
	require.LessOrEqual(t, count()-was, 8, "at most twice a second")

	d.Press("enter")
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "49%, 4.2 it/s, until about ")
	part := 51.5
	x.ProgressPercent = &part
	d.WS.Progress("i-0002", x)
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "51%, 4.2 it/s")
	d.Press("v")
	require.Contains(t, d.Screen(), "what it prints")
}

// What waits for an instance to start stands in the queue, and is told what other jobs are.
func TestTheQueueOfWhatWaitsForAStart(t *testing.T) {
	list := uitest.Small(uitest.Epoch)
	list[1].State, list[1].Agent = api.StateStopped, nil
	d := drive(t, list...)
	d.To("notebook")
	d.Press("Q")
	require.Contains(t, d.Screen(), "its jobs are on its disk")
	d.WS.KeepJob("i-0002", 7, "python", "train.py")
	d.Settle()
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "ab000007")
	require.Contains(t, d.Screen(), "python")
	require.Contains(t, d.Screen(), "waits for notebook to start")
	d.Press("j", "x")
	require.Contains(t, d.Screen(), "ab000007")
	d.Press("y")
	d.Settle()
	require.Contains(t, strings.Join(d.WS.Log(), "\n"), "job cancel notebook ab000007")
}
