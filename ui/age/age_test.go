package age

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestTexts(t *testing.T) {
	for d, want := range map[time.Duration][2]string{
		-time.Hour: {"0s", "now"}, 0: {"0s", "now"}, 59 * time.Second: {"59s", "now"}, time.Minute: {"1m", "1m"},
		90 * time.Second: {"1m", "1m"}, time.Hour: {"1h", "1h"}, 47 * time.Hour: {"47h", "47h"}, 48 * time.Hour: {"2d", "2d"},
	} {
		e, _ := Elapsed(d)
		c, _ := Coarse(d)
		require.Equal(t, want, [2]string{e, c}, d.String())
	}
}

// A text stays the same until Next has passed, and then it is another one.
func TestNextIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(100*24*time.Hour)).Draw(t, "d"))
		for _, f := range []func(time.Duration) (string, time.Duration){Elapsed, Coarse} {
			s, next := f(d)
			before, _ := f(d + next - 1)
			after, _ := f(d + next)
			require.Equal(t, s, before)
			require.NotEqual(t, s, after)
		}
	})
}
