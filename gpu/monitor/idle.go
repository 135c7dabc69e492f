package monitor

import (
	"time"

	"berth/gpu"
	"berth/gpu/history"
)

const (
	// idleGap is how long nothing may be known while GPUs still count as idle.
	idleGap = 10 * time.Minute
	// idleLook is how far back it is looked, when the agent starts, since when they are.
	idleLook = 7 * 24 * time.Hour
)

// idleness knows since when no GPU has done anything.
type idleness struct {
	since *time.Time
	seen  time.Time // when it was known last
}

func (i *idleness) see(s *gpu.Sample) {
	if len(s.GPUs) == 0 || s.GPUsStaleSince != nil {
		return // nothing new is known
	}
	if Busy(s) {
		i.since, i.seen = nil, s.SampledAt
		return
	}
	if gap := s.SampledAt.Sub(i.seen); i.since == nil || gap > idleGap || gap < 0 {
		at := s.SampledAt
		i.since = &at
	}
	i.seen = s.SampledAt
}

// Busy reports whether a GPU of a sample does something.
func Busy(s *gpu.Sample) bool {
	for i := range s.GPUs {
		if busy(&s.GPUs[i], s) {
			return true
		}
	}
	return false
}

// busy: one that does not say how busy it is (divided by MIG) is while a process is on it.
func busy(g *gpu.GPU, s *gpu.Sample) bool {
	if g.Error != "" {
		return false
	}
	if g.Utilization != nil {
		return *g.Utilization >= gpu.BusyPercent
	}
	for _, p := range s.Processes {
		if p.GPUIndex != nil && *p.GPUIndex == g.Index && p.GPUKind != "graphics" {
			return true
		}
	}
	return false
}

// remember takes from the history what would else be known only after hours: since when the GPUs are idle, and how
// fast disks fill.
func (m *Monitor) remember() {
	now := m.o.Now()
	if disks, err := m.history.Series(history.Query{Metrics: []string{"disk_used_bytes"}, Since: now.Add(-6 * time.Hour),
		Points: 361}); err == nil {
		for _, d := range disks {
			at, used := make([]time.Time, len(d.Points)), make([]float64, len(d.Points))
			for i, p := range d.Points {
				at[i], used[i] = p.At, p.Mean
			}
			m.host.Seed(d.Subject, at, used)
		}
	}
	series, err := m.history.Series(history.Query{Metrics: []string{"gpu_utilization_percent"}, Since: now.Add(-idleLook),
		Points: 20000})
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.idle.since, m.idle.seen = idleBefore(series, now)
}

// idleBefore finds, walking back from now, since when no GPU was busy and nothing is missing for long.
func idleBefore(series []gpu.Series, now time.Time) (since *time.Time, seen time.Time) {
	worst := map[int64]float64{}
	for _, s := range series {
		for _, p := range s.Points {
			worst[p.At.Unix()] = max(worst[p.At.Unix()], p.Max)
		}
	}
	if len(series) == 0 {
		return nil, time.Time{}
	}
	step := max(int64(series[0].Step), 1)
	last := now.Unix()
	for t := last / step * step; last-t <= int64(idleGap.Seconds())+step; t -= step {
		v, ok := worst[t]
		if !ok {
			continue
		}
		if v >= gpu.BusyPercent {
			break
		}
		if seen.IsZero() {
			seen = time.Unix(t, 0)
		}
		at := time.Unix(t, 0)
		since, last = &at, t
	}
	return since, seen
}
