package queue

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// indexes are those of all elements.
func indexes(a Array) (out []int) {
	for p := range a.Len() {
		out = append(out, a.Index(p))
	}
	return out
}

func TestArrays(t *testing.T) {
	for s, want := range map[string][]int{
		"7": {7}, "0-4": {0, 1, 2, 3, 4}, "1-10:3": {1, 4, 7, 10}, "1-9:3": {1, 4, 7}, "5,1-3": {1, 2, 3, 5}, "0-9:20": {0},
		"0-2%4": {0, 1, 2},
	} {
		a, err := ParseArray(s)
		require.NoError(t, err, s)
		require.Equal(t, want, indexes(a), s)
		again, err := ParseArray(a.String())
		require.NoError(t, err, a.String())
		require.Equal(t, a, again)
	}
	a, err := ParseArray("0-9%4")
	require.NoError(t, err)
	require.Equal(t, Array{Ranges: []Range{{0, 9, 1}}, Limit: 4}, a)
	for _, s := range []string{"", "a", "-1", "3-1", "0-9:0", "0-9:-1", "0-9%0", "0-9%", "0-9%4%5", "1,1", "0-9,5", "1,,2", "7:2",
		"0-2147483648", "0-1000000", "0-9 ", "01", "1-2-3", "0-9%x"} {
		_, err := ParseArray(s)
		require.Error(t, err, s)
	}
	_, err = ParseArray("3-1")
	require.EqualError(t, err, `the array "3-1" can't be read: 3-1 goes down (say it as 0-9, 1-10:3, 7, 1,4,8 or 0-9%4)`)
}

func FuzzParseArray(f *testing.F) {
	for _, s := range []string{"0-9%4", "1-10:3", "7", "1,4,8", "0-9:20", "5,1-3%2", "0-999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseArray(s)
		if err != nil {
			return
		}
		again, err := ParseArray(a.String())
		require.NoError(t, err)
		require.Equal(t, a, again)
		n := a.Len()
		require.LessOrEqual(t, n, MaxElements)
		for _, place := range []int{0, n / 2, n - 1} {
			got, found := a.Place(a.Index(place))
			require.True(t, found)
			require.Equal(t, place, got)
		}
		_, found := a.Place(a.Index(n-1) + 1)
		require.False(t, found)
	})
}
