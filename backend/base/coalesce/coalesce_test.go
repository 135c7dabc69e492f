package coalesce

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestTheNewestWaits(t *testing.T) {
	var q Queue[string, int]
	require.Empty(t, q.Take())
	q.Put("a", 1)
	q.Put("b", 2)
	q.Put("a", 3)
	require.Equal(t, 2, q.Len())
	*q.Waiting("b") += 5
	require.Nil(t, q.Waiting("c"))
	got := q.Take()
	require.Equal(t, []int{3, 7}, got)
	q.Put("c", 4)
	require.Equal(t, []int{3, 7}, got, "what was taken is not written over")
	q.Drop("nobody")
	q.Drop("c")
	require.Zero(t, q.Len())
}

func TestNothingIsLostAndNothingComesTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q Queue[int, int]
		want := map[int]int{}
		for i := range rapid.IntRange(0, 40).Draw(t, "steps") {
			k := rapid.IntRange(0, 5).Draw(t, "key")
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				q.Drop(k)
				delete(want, k)
			case 1:
				var all []int
				for _, v := range want {
					all = append(all, v)
				}
				require.ElementsMatch(t, all, q.Take())
				clear(want)
			default:
				v := 100*i + k
				q.Put(k, v)
				want[k] = v
			}
			require.Equal(t, len(want), q.Len())
		}
	})
}

func TestSignalsAreOne(t *testing.T) {
	s := NewSignal()
	for range slices.Repeat([]int{0}, 3) {
		s.Send()
	}
	<-s
	select {
	case <-s:
		t.Fatal("a second one")
	default:
	}
}
