package version

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestNewerByNumberThenByBuild(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	for _, c := range []struct{ newer, older Version }{
		{Version{Number: "1.10.0"}, Version{Number: "1.9.9"}},
		{Version{Number: "v2.0.0"}, Version{Number: "1.99.99", Built: at(99)}},
		{Version{Number: "1.0.0"}, Version{Number: "1.0.0-rc1", Built: at(99)}},
		{Version{Number: "1.0.0-rc2"}, Version{Number: "1.0.0-rc1"}},
		{Version{Number: "1.0.0-dev", Built: at(2)}, Version{Number: "1.0.0-dev", Built: at(1)}},
	} {
		require.True(t, c.newer.Newer(c.older), "%v > %v", c.newer, c.older)
		require.False(t, c.older.Newer(c.newer), "%v < %v", c.older, c.newer)
	}
}

// TestNewerIsAStrictOrder checks what keeps two machines from replacing each other's agent and daemon
// for ever: never newer than oneself, never both ways, and no circle of three.
func TestNewerIsAStrictOrder(t *testing.T) {
	number := rapid.OneOf(rapid.StringMatching(`v?[0-3]\.[0-3](\.[0-3])?(-(dev|rc[0-3]|[0-3]-g[ab]|))?`), rapid.String(),
		rapid.StringMatching(`[0-9]{18,22}\.-?[+0-9]?`))
	one := rapid.Custom(func(t *rapid.T) Version {
		return Version{Number: number.Draw(t, "number"), Built: time.Unix(rapid.Int64Range(0, 3).Draw(t, "built"), 0)}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := one.Draw(t, "a"), one.Draw(t, "b"), one.Draw(t, "c")
		if a.Newer(a) {
			t.Fatalf("%v is newer than itself", a)
		}
		if a.Newer(b) && b.Newer(a) {
			t.Fatalf("%v and %v are newer than each other", a, b)
		}
		if a.Newer(b) && b.Newer(c) && !a.Newer(c) {
			t.Fatalf("%v > %v > %v, and yet not %v > %v", a, b, c, a, c)
		}
		if !a.Newer(b) && !b.Newer(a) && a.Newer(c) != b.Newer(c) {
			t.Fatalf("%v and %v are alike, but not beside %v", a, b, c)
		}
	})
}
