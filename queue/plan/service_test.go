package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

func service(s *queue.Spec) {
	s.Service, s.Request = &queue.Service{Port: 8000}, queue.Request{Slots: -1}
}

func TestAServiceTakesNoSlotAndIsNoWork(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1, GPUs: someGPUs(1)})
	job := w.submit()
	up := w.submit(service)
	require.EqualValues(t, queue.Preparing, w.states(up), "though the only slot is taken")
	w.ok(w.started(up))
	require.Equal(t, []queue.ID{up}, w.p.Services())
	running, waiting := w.p.Counts()
	require.Equal(t, []int{1, 0}, []int{running, waiting})

	w.limits.Slots = 0
	w.ok(SetLimits{w.limits})
	with := w.submit(func(s *queue.Spec) {
		service(s)
		s.Request.GPUs = 1
	})
	require.EqualValues(t, queue.Preparing, w.states(with), "a GPU is free, and there are fewer slots than are taken")
	second := w.submit(func(s *queue.Spec) {
		service(s)
		s.Request.GPUs = 1
	})
	require.Equal(t, "it is the next, and waits for a GPU (GPU 0: job 3)", w.reason(second).Text)
	require.EqualValues(t, queue.Preparing, w.states(w.submit(service)), "the one before it waits for a GPU")
	ids, _, more := w.p.Waiting(Place{}, 10)
	require.Empty(t, ids, "services are none of the jobs that wait")
	require.False(t, more)
	require.EqualValues(t, queue.Preparing, w.states(job))
	behind := spec(func(s *queue.Spec) { s.After = []queue.Dependency{{ID: up, When: queue.Any}} })
	require.ErrorContains(t, w.do(Submit{Spec: behind})[0].Err, "is a service")
}

func TestAServiceIsKeptUp(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	up := w.submit(service)
	for n, pause := range []time.Duration{5, 10, 20, 40, 80, 160, 300, 300} {
		w.ok(w.started(up))
		w.ok(w.exit(up, n%2)) // also one that ends well
		require.EqualValues(t, queue.Queued, w.states(up))
		r := w.reason(up)
		require.Equal(t, WaitsBegin, r.Code)
		require.Contains(t, r.Text, "it has ended (exit code ")
		require.Equal(t, w.now.Add(pause*time.Second), r.At)
		w.after(pause * time.Second)
		w.do()
		require.EqualValues(t, queue.Preparing, w.states(up))
	}
	w.ok(w.started(up))
	w.after(queue.ServiceWell)
	w.ok(w.exit(up, 1))
	require.Equal(t, w.now.Add(5*time.Second), w.reason(up).At, "it was well for a while")
	w.after(5 * time.Second)
	w.do()
	w.ok(w.started(up))
	w.ok(w.event(up, queue.Event{Ended: &queue.Ended{At: w.now, Exit: -1, Lost: "restarted"}}))
	require.EqualValues(t, queue.Queued, w.states(up), "the instance was started anew")
	w.after(10 * time.Second)
	w.do()
	w.ok(w.started(up))

	// The instance stops, and starts.
	w.do(Drain{On: true}, PutBack{ID: up, By: "the instance's stop"})
	require.EqualValues(t, queue.Stopping, w.states(up))
	w.ok(w.exit(up, 0))
	require.EqualValues(t, queue.Queued, w.states(up))
	w.restart()
	require.EqualValues(t, queue.Preparing, w.states(up))

	w.ok(w.started(up))
	w.ok(Cancel{up, "ann"})
	w.ok(w.exit(up, 0))
	require.EqualValues(t, queue.Cancelled, w.states(up))
}

func TestAServiceThatCanNotBeginFails(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	up := w.submit(service)
	failed := queue.Event{Ended: &queue.Ended{At: w.now, Exit: 127, Failed: "no such file"}}
	w.ok(w.event(up, failed))
	require.EqualValues(t, queue.Failed, w.states(up))

	up = w.submit(service)
	w.ok(w.started(up))
	w.ok(w.exit(up, 1))
	w.after(5 * time.Second)
	w.do()
	w.ok(w.event(up, failed))
	require.EqualValues(t, queue.Queued, w.states(up), "it could be before: its folder may not be mounted yet")
}
