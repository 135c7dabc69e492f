package job

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// A queue that was told to start nothing goes on by itself when nobody asks again, and at once when it is told to.
func TestADrainLapses(t *testing.T) {
	l, r, _ := opened(t, t.TempDir())
	drain := func(hold time.Duration) api.JobCounts {
		n, err := l.drain(t.Context(), api.DrainRequest{HoldSeconds: hold.Seconds()})
		require.NoError(t, err)
		return n
	}
	drain(time.Hour)
	id := submitted(t, l, spec("a"))
	require.Equal(t, api.JobCounts{Waiting: 1}, drain(300*time.Millisecond))
	require.False(t, r.has(&r.started, id)())
	eventually(t, "the queue goes on", r.has(&r.started, id))
	drain(time.Hour)
	id = submitted(t, l, spec("b"))
	drain(0)
	eventually(t, "it starts", r.has(&r.started, id))
}
