package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

// TestARunFromTheFutureHasItsWholeTime: the clock was set back while no agent was there.
func TestARunFromTheFutureHasItsWholeTime(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit(func(s *queue.Spec) { s.Timeout = time.Hour })
	w.ok(w.started(a))
	w.after(-24 * time.Hour).restart()
	require.Equal(t, w.now.Add(time.Hour), w.last.Wake)
	w.ok(Cancel{a, ""})
	w.after(-24 * time.Hour).restart()
	require.Equal(t, w.now.Add(time.Minute), w.last.Wake, "and its whole grace, not more")
}

// TestACancelAcrossAClockThatIsSetBack: what ends after it was told to has that cause, whatever the clock says.
func TestACancelAcrossAClockThatIsSetBack(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit(func(s *queue.Spec) { s.Retries = 3 })
	w.ok(w.started(a))
	w.after(time.Hour).ok(Cancel{a, "ann"})
	w.after(-30 * time.Minute).ok(w.event(a, queue.Event{Ended: &queue.Ended{At: w.now, Exit: 143, Signal: "TERM"}}))
	require.Equal(t, "cancelled", w.states(a))
	require.Equal(t, "ann", w.journal[a].By)
}

// TestARetryIsNotPutOffByAClockThatIsSetBack: it waits no longer than it was to.
func TestARetryIsNotPutOffByAClockThatIsSetBack(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit(func(s *queue.Spec) { s.Retries = 1 })
	w.ok(w.started(a))
	w.ok(w.exit(a, 1))
	w.after(-24 * time.Hour).restart()
	require.Equal(t, w.now.Add(5*time.Second), w.last.Wake)
}
