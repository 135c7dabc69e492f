package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

// elements says the state of each element that has a job of its own, and of the array.
func (w *world) elements(n int64) string {
	var els []queue.Job
	for _, j := range w.journal {
		if j.ID.Number == n && j.ID.Element {
			els = append(els, j)
		}
	}
	slices.SortFunc(els, func(a, b queue.Job) int { return a.ID.Index - b.ID.Index })
	out := []string{string(w.journal[id(n)].State)}
	for _, j := range els {
		out = append(out, fmt.Sprintf("%d:%s", j.ID.Index, j.State))
	}
	return strings.Join(out, " ")
}

func elems(s string) func(*queue.Spec) {
	return func(sp *queue.Spec) {
		a, err := queue.ParseArray(s)
		if err != nil {
			panic(err)
		}
		sp.Array = &a
	}
}

func TestAnArrayIsOneRowUntilItsElementsStart(t *testing.T) {
	w := newWorld(t, Limits{Slots: 2})
	a := w.submit(elems("1-7:2"))
	require.Equal(t, []string{"start 1_1/1", "start 1_3/1"}, w.actions)
	require.Equal(t, "queued 1:preparing 3:preparing", w.elements(1))
	require.Equal(t, []queue.Range{{First: 0, Last: 1, Step: 1}}, w.journal[a].Begun)
	w.restart()
	w.ok(w.exit(a.At(1), 0))
	require.Equal(t, "queued 1:succeeded 3:preparing 5:preparing", w.elements(1))
	w.ok(w.exit(a.At(5), 1))
	require.Equal(t, "running 1:succeeded 3:preparing 5:failed 7:preparing", w.elements(1))
	w.do(w.exit(a.At(3), 0), w.exit(a.At(7), 0))
	require.Equal(t, "failed 1:succeeded 3:succeeded 5:failed 7:succeeded", w.elements(1))
	require.Equal(t, queue.Tally{Succeeded: 3, Failed: 1}, w.journal[a].Tally)
	require.Empty(t, w.p.items)
	require.Empty(t, w.p.shapes)

	j, arr := w.journal[a.At(5)], w.journal[a]
	w.ok(Retry{Job: j, Array: &arr})
	require.Equal(t, "running 1:succeeded 3:succeeded 5:preparing 7:succeeded", w.elements(1))
	w.restart()
	w.ok(w.exit(a.At(5), 0))
	require.Equal(t, "succeeded 1:succeeded 3:succeeded 5:succeeded 7:succeeded", w.elements(1))
	require.Equal(t, queue.Tally{Succeeded: 4}, w.journal[a].Tally)
}

func TestAnArrayHasALimit(t *testing.T) {
	w := newWorld(t, Limits{Slots: 10})
	a := w.submit(elems("0-5%2"), func(s *queue.Spec) { s.Retries = 1 })
	b := w.submit()
	require.Equal(t, "queued 0:preparing 1:preparing", w.elements(1))
	require.Equal(t, "preparing", w.states(b), "it delays nobody")
	w.ok(w.exit(a.At(0), 1))
	require.Equal(t, "queued 0:queued 1:preparing 2:preparing", w.elements(1))
	w.after(time.Minute).do()
	require.Equal(t, "queued 0:queued 1:preparing 2:preparing", w.elements(1), "a retry counts, too")
	w.restart()
	w.ok(w.exit(a.At(1), 0))
	require.Equal(t, "queued 0:preparing 1:succeeded 2:preparing", w.elements(1), "it goes before the rest")
}

func TestCancelOfAnArray(t *testing.T) {
	w := newWorld(t, Limits{Slots: 2})
	a := w.submit(elems("0-99999"))
	b := w.submit(func(s *queue.Spec) { s.After = []queue.Dependency{{ID: a.At(77), When: queue.Success}} })
	c := w.submit(func(s *queue.Spec) { s.After = []queue.Dependency{{ID: a, When: queue.Any}} })
	w.ok(Hold{a.At(7)})
	w.ok(Cancel{a.At(9), "ann"})
	require.Equal(t, "queued 0:preparing 1:preparing 7:held 9:cancelled", w.elements(1))
	w.restart()
	w.ok(Cancel{a, "ann"})
	require.Equal(t, "running 0:stopping 1:stopping 7:cancelled 9:cancelled", w.elements(1))
	require.Equal(t, queue.Tally{Cancelled: 99998}, w.journal[a].Tally)
	require.Equal(t, "cancelled queued", w.states(b, c))
	w.ok(Cancel{a, "ann"})
	require.ErrorAs(t, w.do(Cancel{a.At(500), "ann"})[0].Err, new(*GoneError))
	w.do(w.exit(a.At(0), 0), w.exit(a.At(1), 0))
	require.Equal(t, "cancelled 0:cancelled 1:cancelled 7:cancelled 9:cancelled", w.elements(1))
	require.Equal(t, "preparing", w.states(c))

	arr := w.journal[a]
	gone := queue.Job{ID: a.At(500), Spec: arr.Spec, Status: queue.Status{State: queue.Cancelled}}
	w.ok(Retry{Job: gone, Array: &arr})
	require.Equal(t, "running 0:cancelled 1:cancelled 7:cancelled 9:cancelled 500:preparing", w.elements(1))
	require.Equal(t, 99999, w.journal[a].Tally.Cancelled)
	w.ok(Retry{Job: w.journal[a]})
	require.Equal(t, queue.Tally{Cancelled: 4}, w.journal[a].Tally)
	require.Equal(t, "queued", w.states(a))
	require.Error(t, w.do(Retry{Job: w.journal[a]})[0].Err)
	w.ok(w.exit(c, 0))
	require.Equal(t, []string{"start 1_2/1"}, w.actions)
}

func TestAnArrayThatWaitsInVainIsCancelled(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	dep := w.submit()
	a := w.submit(elems("0-3"), func(s *queue.Spec) { s.After = []queue.Dependency{{ID: dep, When: queue.Success}} })
	w.ok(Hold{a.At(2)})
	w.ok(w.exit(dep, 1))
	require.Equal(t, "cancelled 2:cancelled", w.elements(2))
	require.Equal(t, "job 1, which it waited for to succeed, is failed", w.journal[a].Message)
	require.Equal(t, queue.Tally{Cancelled: 4}, w.journal[a].Tally)
	w.ok(Retry{Job: w.journal[a]})
	require.Equal(t, "queued 0:preparing 2:cancelled", w.elements(2))
}

func TestVerbsReachAllElements(t *testing.T) {
	w := newWorld(t, Limits{Slots: 2})
	a := w.submit(elems("0-4"))
	w.do(w.started(a.At(0)), w.started(a.At(1)))
	w.ok(Pause{a})
	require.Equal(t, []string{"STOP all 1_0", "STOP all 1_1"}, w.actions)
	require.Error(t, w.do(Pause{a})[0].Err)
	w.ok(Resume{a.At(1)})
	require.Equal(t, "queued 0:paused 1:running", w.elements(1))
	w.ok(Hold{a.At(2)})
	w.ok(Hold{a})
	require.Equal(t, "held 0:paused 1:running 2:held", w.elements(1))
	w.ok(w.exit(a.At(1), 0))
	require.Equal(t, "held 0:paused 1:succeeded 2:held", w.elements(1))
	w.ok(SetPriority{a, 5})
	require.Equal(t, 5, w.journal[a.At(2)].Priority)
	require.ErrorContains(t, w.do(Move{a.At(2), Up})[0].Err, "move its array, 1")
	w.ok(Move{a, Top})
	require.Equal(t, w.journal[a].Order, w.journal[a.At(2)].Order)
	w.ok(Release{a})
	require.Equal(t, "queued 0:paused 1:succeeded 2:preparing", w.elements(1))
}

func TestSetsOfPlaces(t *testing.T) {
	var set []queue.Range
	for _, place := range []int{3, 1, 5, 2, 0, 4, 9} {
		require.False(t, has(set, place))
		before := slices.Clone(set)
		next := with(set, place)
		require.Equal(t, before, set, "the old one stays")
		set = next
		require.True(t, has(set, place))
	}
	require.Equal(t, []queue.Range{{First: 0, Last: 5, Step: 1}, {First: 9, Last: 9, Step: 1}}, set)
}
