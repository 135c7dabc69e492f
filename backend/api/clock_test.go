package api

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAClockIsAheadByWhatTheAnswersTimeLeavesNoDoubtOf(t *testing.T) {
	asked := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		now, took, want time.Duration
	}{
		{0, 0, 0}, {time.Second, 0, 0}, {2 * time.Second, 0, 2 * time.Second}, {-2 * time.Second, 0, -2 * time.Second},
		{5 * time.Second, 10 * time.Second, 0}, {13 * time.Second, 10 * time.Second, 3 * time.Second},
		{-3 * time.Second, 10 * time.Second, -3 * time.Second}, {11 * time.Second, 10 * time.Second, 0},
		{time.Hour + 20*time.Second, 0, time.Hour},
	} {
		require.Equal(t, c.want, ahead(asked.Add(c.now), asked, asked.Add(c.took)), "%+v", c)
	}
}

func TestClockText(t *testing.T) {
	for d, want := range map[time.Duration]string{2 * time.Second: "2 seconds ahead", -time.Minute: "1 minute behind",
		90 * time.Minute: "2 hours ahead", -36 * time.Hour: "2 days behind", 365 * 24 * time.Hour: "1 year ahead",
		-30 * 365 * 24 * time.Hour: "30 years behind"} {
		require.Equal(t, want, ClockText(d))
	}
}
