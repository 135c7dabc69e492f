package plan

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

func (w *world) reason(id queue.ID) Reason { return w.p.Reasons(w.now, []queue.ID{id})[0] }

func TestReasonsComeInAFixedOrder(t *testing.T) {
	w := newWorld(t, Limits{Slots: 2, GPUs: someGPUs(2), Groups: map[string]int{"g": 1}})
	w.submit(func(s *queue.Spec) { s.Group = "g"; s.Request.GPUs = 0 })
	all := w.submit(func(s *queue.Spec) {
		s.Request.Slots, s.Request.GPUs, s.Hold, s.Begin, s.Group = 3, 3, true, epoch.Add(time.Hour), "g"
		s.After = []queue.Dependency{{ID: id(1), When: queue.Any}}
	})
	require.Equal(t, Reason{Code: WaitsImpossible, Text: "it needs 3 slots, and this instance has 2"}, w.reason(all))
	w.ok(SetLimits{Limits{Slots: 3, GPUs: someGPUs(2), Groups: map[string]int{"g": 1}}})
	require.Equal(t, Reason{Code: WaitsImpossible, Text: "it needs 3 GPUs, and this instance has 2"}, w.reason(all))
	w.ok(SetLimits{Limits{Slots: 3, GPUs: someGPUs(3), Groups: map[string]int{"g": 1}}})
	require.Equal(t, WaitsHeld, w.reason(all).Code)
	w.ok(Release{all})
	require.Equal(t, Reason{Code: WaitsBegin, Text: "it waits for its time", At: epoch.Add(time.Hour),
		StartsAt: epoch.Add(time.Hour)}, w.reason(all))
	w.after(time.Hour).ok(Drain{true})
	require.Equal(t, Reason{Code: WaitsDependency, Text: "it waits for 1 to end",
		WaitsFor: []queue.Dependency{{ID: id(1), When: queue.Any}}}, w.reason(all))
	other := w.submit(func(s *queue.Spec) { s.Group, s.Request.GPUs = "g", -1 })
	require.Equal(t, WaitsDrain, w.reason(other).Code)
	w.ok(Drain{false})
	require.Equal(t, Reason{Code: WaitsGroup, Text: "it waits for its group g, of which 1 job runs at once"}, w.reason(other))
	w.ok(w.exit(id(1), 0))
	require.Equal(t, "preparing", w.states(all))
	require.Zero(t, w.reason(all), "it does not wait")
	require.Zero(t, w.reason(id(99)))
	w.ok(SetLimits{Limits{Slots: 3, GPUs: someGPUs(3)}})
	require.Equal(t, Reason{Code: WaitsSlots, Text: "it is the next, and waits for a GPU (GPU 0: job 2; GPU 1: job 2; GPU 2: job 2)"},
		w.reason(other))
	next := w.submit()
	require.Equal(t, Reason{Code: WaitsBehind, Behind: 1, Text: "it waits for one job before it"}, w.reason(next))
	require.Equal(t, Reason{Code: WaitsBehind, Behind: 2, Text: "it waits for 2 jobs before it"}, w.reason(w.submit()))
}

func TestReasonsOfElements(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit(elems("0-9"))
	w.ok(Hold{a.At(3)})
	b := w.submit()
	require.Equal(t, WaitsHeld, w.reason(a.At(3)).Code)
	require.Equal(t, 0, w.reason(a).Behind)
	require.Equal(t, 0, w.reason(a.At(1)).Behind)
	require.Equal(t, 1, w.reason(a.At(2)).Behind)
	require.Equal(t, 2, w.reason(a.At(4)).Behind)
	require.Equal(t, 8, w.reason(b).Behind)
	require.Zero(t, w.reason(a.At(0)))
	require.Zero(t, w.reason(a.At(10)))
	c := w.submit(elems("0-9%1"))
	w.ok(Cancel{a, ""})
	w.ok(w.exit(a.At(0), 0))
	w.ok(w.exit(b, 0))
	require.Equal(t, "1 element at once, and so many run", w.reason(c).Text)
}

func TestARetrySaysWhichTry(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit(func(s *queue.Spec) { s.Retries = 1 })
	w.ok(w.exit(a, 1))
	require.Equal(t, "it has failed (exit code 1), and is tried again, for the 1st time", w.reason(a).Text)
	require.Equal(t, "2nd 3rd 4th 11th 12th 21st 112th", fmt.Sprint(ordinal(2), " ", ordinal(3), " ", ordinal(4), " ",
		ordinal(11), " ", ordinal(12), " ", ordinal(21), " ", ordinal(112)))
}

func TestEstimates(t *testing.T) {
	w := newWorld(t, Limits{Slots: 2})
	takes := func(d time.Duration) func(*queue.Spec) { return func(s *queue.Spec) { s.Expect = d } }
	a, b := w.submit(takes(time.Hour)), w.submit(takes(2*time.Hour))
	w.do(w.started(a), w.started(b))
	wide := w.submit(func(s *queue.Spec) { s.Request.Slots, s.Timeout = 2, time.Hour })
	next := w.submit()
	at := func(id queue.ID) time.Duration {
		r := w.reason(id)
		require.NotEmpty(t, r.Code)
		if r.StartsAt.IsZero() {
			return 0
		}
		return r.StartsAt.Sub(epoch)
	}
	require.Equal(t, 2*time.Hour, at(wide))
	require.Equal(t, 3*time.Hour, at(next))
	last := w.submit()
	require.Equal(t, 3*time.Hour, at(last), "both fit then")
	require.Zero(t, at(w.submit()), "how long they take is not known")
	w.after(30 * time.Minute)
	require.Equal(t, 2*time.Hour, at(wide))
	w.after(2 * time.Hour)
	require.Zero(t, at(wide), "it takes longer than it did before")
}

func TestFarBehindTheEstimateGoesOnAtThePace(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit(elems("0-9999"), func(s *queue.Spec) { s.Expect = time.Minute })
	w.ok(w.started(a.At(0)))
	r := w.p.Reasons(w.now, []queue.ID{a.At(100), a.At(5000)})
	require.Equal(t, 100*time.Minute, r[0].StartsAt.Sub(epoch))
	require.InDelta(t, 5000, r[1].StartsAt.Sub(epoch).Minutes(), 1)
	require.Equal(t, 4999, r[1].Behind)
}

// TestTheLineIsWalkedInOrder compares the walk over the heaps with sorting.
func TestTheLineIsWalkedInOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	w := newWorld(t, Limits{})
	const n = maxWalk + 200
	for range n {
		w.submit(func(s *queue.Spec) {
			s.Priority, s.Group, s.User = rnd.IntN(5), fmt.Sprint(rnd.IntN(4)), fmt.Sprint(rnd.IntN(10))
		})
	}
	w.p.limits.Slots = 1
	w.p.setLimits(w.p.limits) // and nothing is started yet
	var ids []queue.ID
	var before *item
	for it := range w.p.inOrder() {
		require.True(t, before == nil || before.before(it))
		before = it
		ids = append(ids, it.id)
	}
	require.Len(t, ids, n)
	require.Equal(t, ids[:7], w.p.Front(7))
	for _, most := range []int{n, maxWalk, 10} { // all, and those at the front alone
		for i, r := range w.p.Reasons(w.now, ids[:most]) {
			require.Equal(t, i, r.Behind)
		}
	}
}

// TestWhatIsWaitedFor says which end of which jobs it is.
func TestWhatIsWaitedFor(t *testing.T) {
	on := func(n int64, when queue.Ending) queue.Dependency { return queue.Dependency{ID: id(n), When: when} }
	for want, unmet := range map[string][]queue.Dependency{
		"it waits for 1 to succeed":                   {on(1, queue.Success)},
		"it waits for 1 to fail":                      {on(1, queue.Failure)},
		"it waits for 1, 2 to end":                    {on(1, queue.Any), on(2, queue.Any)},
		"it waits for 2 to succeed, and for 1 to end": {on(1, queue.Any), on(2, queue.Success)},
		"it waits for 1, 2, 3 to succeed, and for 2 more": {on(1, queue.Success), on(2, queue.Success), on(3, queue.Success),
			on(4, queue.Any), on(5, queue.Any)},
	} {
		require.Equal(t, want, waitsFor(unmet))
	}
}
