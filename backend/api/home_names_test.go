package api

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHomesOfOneUserAreNamedOnce: two names that read the same tell nobody anything.
func TestHomesOfOneUserAreNamedOnce(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 3, d, 12, 0, 0, 0, time.Local) }
	ada, bob := Home{Name: "ada@laptop"}, Home{Name: "bob@tower"}
	require.Equal(t, []string{"3 homes of ada@laptop (last seen 2026-03-09)", "bob@tower (last seen 2026-03-02)"},
		NameHomes([]HomeUse{{Home: ada, SeenAt: day(1)}, {Home: bob, SeenAt: day(2)}, {Home: ada, SeenAt: day(9)},
			{Home: ada, SeenAt: day(4)}}))
	require.Empty(t, NameHomes(nil))
}
