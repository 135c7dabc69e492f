package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

// What waits is listed as it starts, page by page, and what can't start yet behind it.
func TestWhatWaitsByItsTurn(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	p := New(Limits{Slots: 1}, 0)
	submit := func(s queue.Spec) int64 {
		s.Argv, s.Workdir = []string{"true"}, "/"
		out := p.Do(now, Submit{Spec: s})
		require.NoError(t, out.Answers[0].Err)
		return out.Answers[0].ID.Number
	}
	submit(queue.Spec{}) // it runs
	held := submit(queue.Spec{Hold: true})
	low := submit(queue.Spec{Priority: -1})
	plain := submit(queue.Spec{})
	array := submit(queue.Spec{Group: "g", Array: &queue.Array{Ranges: []queue.Range{{First: 0, Last: 99, Step: 1}}}})
	after := submit(queue.Spec{After: []queue.Dependency{{ID: queue.ID{Number: low}, When: queue.Success}}})
	high := submit(queue.Spec{Priority: 5})
	last := submit(queue.Spec{})
	p.Do(now, Move{ID: queue.ID{Number: last}, To: Top})
	want := []int64{high, last, plain, array, low, held, after}
	for most := 1; most <= 8; most++ {
		var got []int64
		var at Place
		for more := true; more; {
			var ids []queue.ID
			ids, at, more = p.Waiting(at, most)
			require.LessOrEqual(t, len(ids), most)
			for _, id := range ids {
				got = append(got, id.Number)
			}
		}
		require.Equal(t, want, got, most)
	}
}
