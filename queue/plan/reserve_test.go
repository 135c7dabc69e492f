package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

// sized is a job of so many slots with a time-out, and no grace to speak of.
func sized(slots int, timeout time.Duration) func(*queue.Spec) {
	return func(s *queue.Spec) {
		s.Request.Slots, s.Timeout, s.Grace = slots, timeout, time.Nanosecond
	}
}

func TestTheFirstThatDoesNotFitHoldsAPlace(t *testing.T) {
	w := newWorld(t, Limits{Slots: 4})
	run := w.submit(sized(3, time.Hour))
	w.ok(w.started(run))
	wide := w.submit(sized(4, time.Hour))
	long := w.submit(sized(1, 2*time.Hour))
	none := w.submit(sized(1, 0))
	short := w.submit(sized(1, 50*time.Minute))
	require.Equal(t, "queued queued queued preparing", w.states(wide, long, none, short), "only the short one ends before")
	w.do(w.exit(run, 0), w.exit(short, 0))
	require.Equal(t, "preparing queued queued", w.states(wide, long, none))
}

func TestWhatTheFirstLeavesOverMayBeTaken(t *testing.T) {
	w := newWorld(t, Limits{Slots: 4})
	run := w.submit(sized(3, time.Hour))
	w.ok(w.started(run))
	wide := w.submit(sized(3, time.Hour))
	long := w.submit(sized(1, 0))
	require.Equal(t, "queued preparing", w.states(wide, long))
	require.Equal(t, "queued", w.states(w.submit(sized(1, 0))))
	w.ok(w.exit(run, 0))
	require.Equal(t, "preparing", w.states(wide))
}

func TestWithoutATimeOutNothingOvertakes(t *testing.T) {
	w := newWorld(t, Limits{Slots: 4})
	run := w.submit(sized(2, 0))
	w.ok(w.started(run))
	wide, short := w.submit(sized(4, 0)), w.submit(sized(1, time.Minute))
	require.Equal(t, "queued queued", w.states(wide, short))
	w.ok(Hold{wide})
	require.Equal(t, "preparing", w.states(short))
}

func TestJobsWithoutGPUsPassTheOneThatWaitsForThem(t *testing.T) {
	w := newWorld(t, Limits{Slots: 3, GPUs: someGPUs(1)})
	gpu := func(s *queue.Spec) { s.Request.GPUs = -1 }
	first := w.submit(gpu)
	w.ok(w.started(first))
	second := w.submit(gpu)
	var cpu []queue.ID
	for range 3 {
		cpu = append(cpu, w.submit())
	}
	require.Equal(t, "queued preparing preparing queued", w.states(append([]queue.ID{second}, cpu...)...))
	w.ok(w.exit(first, 0))
	require.Equal(t, "preparing queued", w.states(second, cpu[2]))
	require.Equal(t, "queued", w.states(w.submit(gpu)))
}

func TestOneOfEachShapeIsLookedAtUpToALimit(t *testing.T) {
	w := newWorld(t, Limits{Slots: 2})
	w.ok(w.started(w.submit(sized(1, time.Hour))))
	w.submit(sized(2, 0))
	for range maxShapes - 1 {
		w.submit(sized(1, 0), func(s *queue.Spec) { s.User = w.p.now.String(); w.after(1) })
	}
	late := w.submit(sized(1, time.Minute))
	require.Equal(t, "queued", w.states(late))
	w.ok(Cancel{id(3), ""})
	w.after(-time.Minute).do()
	require.Equal(t, "preparing", w.states(late))
}
