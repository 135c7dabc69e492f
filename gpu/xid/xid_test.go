package xid

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTable(t *testing.T) {
	entries, err := table()
	require.NoError(t, err)
	require.Greater(t, len(entries), 40)
	for code, e := range entries {
		require.Equal(t, code, e.Code)
		require.LessOrEqual(t, len(e.Meaning), 120, "%d", code)
		require.LessOrEqual(t, len(e.Advice), 240, "%d", code)
	}
}

// The numbers for which NVIDIA's own device plug-in does not give up a GPU, and some for which one must.
func TestBlame(t *testing.T) {
	for _, code := range []int{13, 31, 43, 45, 68, 109} {
		require.True(t, Look(code).Application, "%d", code)
	}
	for _, code := range []int{48, 63, 64, 74, 79, 92, 94, 95, 119, 120, 140} {
		require.False(t, Look(code).Application, "%d", code)
	}
}

func TestUnknown(t *testing.T) {
	e := Look(99999)
	require.False(t, e.Application)
	require.Contains(t, e.Meaning, "does not know")
	at := time.Unix(1, 0)
	require.Equal(t, at, Event(79, at).At)
	require.Contains(t, Event(79, at).Meaning, "bus")
}
