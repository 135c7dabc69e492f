package idle

import (
	"encoding/json"
	"math"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"berth/gpu"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	require.NoError(t, err)
	return loc
}

func TestBoundsOfDays(t *testing.T) {
	for _, c := range []struct {
		zone, day, begins string
		hours             float64
	}{
		{"UTC", "2026-11-24", "00:00", 24},
		{"Europe/Berlin", "2026-11-24", "00:00", 24},
		{"Europe/Berlin", "2026-03-29", "00:00", 23},
		{"Europe/Berlin", "2026-10-25", "00:00", 25},
		{"America/Havana", "2026-03-08", "01:00", 23}, // midnight is left out
		{"America/Havana", "2026-03-07", "00:00", 24},
		{"America/Havana", "2026-11-01", "00:00", 25}, // midnight comes twice
		{"America/Havana", "2026-10-31", "00:00", 24},
		{"Australia/Lord_Howe", "2026-04-05", "00:00", 24.5},
		{"Asia/Kathmandu", "2026-04-05", "00:00", 24},
	} {
		loc := zone(t, c.zone)
		day, err := time.ParseInLocation(time.DateOnly, c.day, loc)
		require.NoError(t, err)
		for _, hour := range []int{3, 12, 23} {
			now := time.Date(day.Year(), day.Month(), day.Day(), hour, 59, 0, 0, loc)
			if c.zone == "America/Havana" && c.day == "2026-03-08" {
				now = time.Date(2026, 3, 8, hour, 59, 0, 0, loc) // its midnight parses to the day before
			}
			start, end := Bounds(now)
			name := c.zone + " " + c.day
			require.Equal(t, c.hours, end.Sub(start).Hours(), name)
			require.Equal(t, c.begins, start.Format("15:04"), name)
			require.NotEqual(t, start.Day(), start.Add(-time.Nanosecond).Day(), name)
			require.Equal(t, now.Day(), start.Day(), name)
			again, _ := Bounds(end)
			require.True(t, again.Equal(end), "%s: the next day begins where this one ends", name)
		}
	}
	// A zone that leaves out a whole day.
	start, end := Bounds(time.Date(2011, 12, 29, 23, 0, 0, 0, zone(t, "Pacific/Apia")))
	require.True(t, end.After(start))
}

func points(step float64, from time.Time, max ...float64) gpu.Series {
	s := gpu.Series{Metric: "gpu_utilization_percent", Subject: "GPU-1b2c3d4e-aaaa", Step: step}
	for i, v := range max {
		if v >= 0 { // else: not measured
			s.Points = append(s.Points, gpu.Point{At: from.Add(time.Duration(float64(i) * step * float64(time.Second))),
				Mean: v / 2, Max: v})
		}
	}
	return s
}

const gone = -1

func sum(d *Day) (all time.Duration) {
	for key := range d.GPUs {
		all += d.Idle(key, -1, nil, nil)
	}
	return all
}

func TestWhatTheHistorySays(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, zone(t, "Europe/Berlin"))
	d := New(now)
	d.Read([]gpu.Series{
		points(60, d.Start.Add(-2*time.Minute), 0, 0, 0, 4.9, gone, gone, 5, 99, 0), // two of yesterday
		{Metric: "cpu_percent", Step: 60, Points: []gpu.Point{{At: now}}},
	}, 0)
	require.Equal(t, 3*time.Minute, sum(d), "yesterday, gaps and work are no idleness")
	require.Len(t, d.GPUs, 1)
	require.NotNil(t, d.GPUs["1b2c3d4e"])
	d.Read([]gpu.Series{points(10, d.Start.Add(10*time.Minute), 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0)}, 0)
	require.Equal(t, 5*time.Minute, sum(d), "a minute with work in it is busy; one of which ten seconds are known counts")
	d.Read([]gpu.Series{points(3600, d.Start.Add(time.Hour), 0, 50)}, 0)
	require.Equal(t, 65*time.Minute, sum(d))
	// The host's clock is an hour ahead: the beginning is where it was.
	e := New(now)
	e.Read([]gpu.Series{points(60, e.Start.Add(time.Hour), 0, 0)}, time.Hour)
	require.Equal(t, 2*time.Minute, sum(e))
	require.True(t, has(e.GPUs["1b2c3d4e"].Idle, 0))
	// The last step ends with the day.
	e = New(now)
	e.Read([]gpu.Series{points(3600, e.End.Add(-30*time.Minute), 0, 0)}, 0)
	require.Equal(t, 30*time.Minute, sum(e))
}

func TestDaysOf23And25Hours(t *testing.T) {
	for day, hours := range map[int]int{29: 23, 25: 25} {
		month := map[int]time.Month{29: time.March, 25: time.October}[day]
		d := New(time.Date(2026, month, day, 23, 30, 0, 0, zone(t, "Europe/Berlin")))
		idle := make([]float64, 30*60) // more than the day has
		d.Read([]gpu.Series{points(60, d.Start, idle...)}, 0)
		require.Equal(t, time.Duration(hours)*time.Hour, sum(d))
		require.Equal(t, hours*60-1, d.Minute(d.End.Add(-1)))
		require.Equal(t, -1, d.Minute(d.End))
		require.Equal(t, -1, d.Minute(d.Start.Add(-1)))
	}
}

func TestOneGPUOfSeveralInstances(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	a, b := New(now), New(now)
	for m := range 10 {
		a.Mark(m, "x", false)
	}
	for m := 5; m < 20; m++ {
		b.Mark(m, "x", m == 7 || m == 19)
	}
	require.Equal(t, 10*time.Minute, a.Idle("x", -1, nil, nil))
	require.Equal(t, 9*time.Minute, a.Idle("x", 9, nil, nil), "the minute that goes on")
	require.Equal(t, 9*time.Minute, a.Idle("x", -1, nil, []*Day{b}), "b saw it busy")
	require.Equal(t, 9*time.Minute, b.Idle("x", -1, []*Day{a}, []*Day{a}), "what a counts already")
	require.Zero(t, a.Idle("y", -1, nil, nil))
}

// However and however often what is known is put together, it is the same; a minute is never both; and a day
// survives being kept.
func TestDaysArePutTogether(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		parts := make([]*Day, rapid.IntRange(1, 4).Draw(t, "parts"))
		busy, idle := map[int]bool{}, map[int]bool{}
		for i := range parts {
			parts[i] = New(now)
			for range rapid.IntRange(0, 40).Draw(t, "marks") {
				m, b := rapid.IntRange(0, 30).Draw(t, "minute"), rapid.Bool().Draw(t, "busy")
				parts[i].Mark(m, "x", b)
				busy[m], idle[m] = busy[m] || b, true
			}
		}
		want := 0
		for m := range idle {
			if !busy[m] {
				want++
			}
		}
		d := New(now)
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(parts)-1), 0, 8).Draw(t, "order") {
			d.Merge(parts[i])
		}
		for i := len(parts) - 1; i >= 0; i-- {
			d.Merge(parts[i])
		}
		raw, err := json.Marshal(d)
		require.NoError(t, err)
		var back Day
		require.NoError(t, json.Unmarshal(raw, &back))
		require.True(t, back.Same(d))
		c := back.Clone()
		require.Equal(t, time.Duration(want)*time.Minute, sum(c))
		for _, m := range c.GPUs {
			for i := range 32 {
				require.False(t, has(m.Idle, i) && has(m.Busy, i))
			}
		}
		c.Mark(40, "x", false)
		require.Equal(t, time.Duration(want)*time.Minute, sum(&back), "a copy shares nothing")
	})
}

func TestKeys(t *testing.T) {
	require.Equal(t, "1b2c", Key("1b2c", 3))
	require.Equal(t, "#3", Key("", 3))
	require.Equal(t, "#99", Key("", 99))
	require.False(t, Named("#3"))
	require.True(t, Named("1b2c"))
	three := 3
	require.Equal(t, "#3", subject(&gpu.Series{Subject: "GPU 3", Index: &three}))
	require.Equal(t, "1b2c3d4e", subject(&gpu.Series{Subject: "GPU-1b2c3d4e-ffff", Index: &three}))
	d := New(time.Now())
	for i := range 1000 {
		d.Mark(0, Key("", i), false)
	}
	require.Len(t, d.GPUs, maxGPUs)
	new(Day).Mark(0, "x", false)
}

// Whatever an agent says, a GPU is not idle for longer than the day has, and it costs no time to find out.
func FuzzRead(f *testing.F) {
	f.Add(int64(0), 60.0, 0.0, int64(0), 3)
	f.Add(int64(-1), math.NaN(), math.NaN(), int64(1)<<62, 3)
	f.Add(int64(1)<<62, 1e300, -1.0, -int64(1)<<62, 1000)
	f.Fuzz(func(t *testing.T, at int64, step, max float64, ahead int64, n int) {
		d := New(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
		s := gpu.Series{Metric: "gpu_utilization_percent", Subject: "GPU-1", Step: step}
		for i := range min(n, 2000) {
			s.Points = append(s.Points, gpu.Point{At: time.Unix(at, 0).Add(time.Duration(i) * time.Hour), Max: max})
		}
		d.Read([]gpu.Series{s}, time.Duration(ahead))
		if got := sum(d); got < 0 || got > 24*time.Hour {
			t.Fatal(got)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	start, _ := Bounds(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
	var all []gpu.Series
	for i := range 8 {
		s := points(60, start, make([]float64, 1440)...)
		s.Subject = string(rune('a' + i))
		all = append(all, s)
	}
	b.ReportAllocs()
	for b.Loop() {
		d := New(start)
		d.Read(all, 0)
		d.Merge(d.Clone())
	}
}
