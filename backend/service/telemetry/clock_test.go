package telemetry

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu"
)

// TestAClockThatIsOffWantsAttention connects to an instance whose clock is a year ahead, which is then put right, and
// then set back while the line holds.
func TestAClockThatIsOffWantsAttention(t *testing.T) {
	a := newAgents(t)
	off := 365 * 24 * time.Hour
	a.set(func() {
		a.summary["vision"] = gpu.Summary{CPU: ptr(1.0)}
		a.now = func() time.Time { return time.Now().Add(off) }
	})
	h, w := open(t, a, nil, "vision")
	known, _ := watch(t, h, w, time.Second)
	text := func() string {
		for _, f := range known("vision").Attention {
			if f.Rule == "clock" {
				return f.Text
			}
		}
		return ""
	}
	until(t, "it is found", func() bool { return text() == "its clock is 1 year ahead" })
	for _, c := range h.Check(t.Context(), func(string) bool { return true }) {
		require.Equal(t, "warn", c.Status)
		require.Contains(t, c.Message, "its clock is 1 year ahead")
	}
	a.set(func() { off = 0 })
	until(t, "it is right", func() bool { return text() == "" })
	a.set(func() { off = -time.Hour })
	until(t, "it is found again", func() bool { return text() == "its clock is 1 hour behind" })
}
