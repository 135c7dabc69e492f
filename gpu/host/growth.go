package host

import (
	"slices"
	"time"
)

// Growth is watched over growthSpan, a point a minute.
const (
	growthStep   = time.Minute
	growthSpan   = 6 * time.Hour
	growthPoints = int(growthSpan / growthStep)
	growthLeast  = 10 * time.Minute // less than that says nothing
	growthUsed   = 72               // points that a slope is found from: its cost is their square
	fullHorizon  = 30 * 24 * time.Hour
)

type growthPoint struct {
	at   time.Duration // of the monotonic clock
	used float64       // bytes
}

// growth knows how fast one file system fills.
type growth struct {
	points []growthPoint // in time order
	known  bool          // last is of these points
	last   *float64
}

func (g *growth) add(at time.Duration, used float64) {
	if n := len(g.points); n > 0 && at-g.points[n-1].at < growthStep {
		return
	}
	g.points = append(g.points, growthPoint{at, used})
	g.trim(at)
}

func (g *growth) trim(now time.Duration) {
	g.known = false
	g.points = slices.DeleteFunc(g.points, func(p growthPoint) bool { return now-p.at > growthSpan })
	if n := len(g.points) - growthPoints; n > 0 {
		g.points = slices.Delete(g.points, 0, n)
	}
}

// rate is in bytes a second; nil: too little is known.
func (g *growth) rate() *float64 {
	if !g.known {
		g.last, g.known = slope(g.points), true
	}
	return g.last
}

// seed puts what was measured before this process started in front.
func (g *growth) seed(points []growthPoint, now time.Duration) {
	if len(g.points) > 0 {
		first := g.points[0].at
		points = slices.DeleteFunc(slices.Clone(points), func(p growthPoint) bool { return p.at >= first })
	}
	g.points = append(slices.Clone(points), g.points...)
	slices.SortStableFunc(g.points, func(a, b growthPoint) int { return int(a.at - b.at) })
	g.trim(now)
}

// slope is in bytes a second: the median of the slopes between all pairs of points (Theil and Sen), which
// bursts and pauses don't bend. A single step that is more than half of all movement (a download, a
// clean-up) is taken out first: it says nothing about what comes. nil: too little is known.
func slope(points []growthPoint) *float64 {
	if len(points) < 5 || points[len(points)-1].at-points[0].at < growthLeast {
		return nil
	}
	p := points
	if len(p) > growthUsed {
		p = make([]growthPoint, growthUsed)
		for i := range p {
			p[i] = points[i*(len(points)-1)/(growthUsed-1)]
		}
	} else {
		p = slices.Clone(p)
	}
	var moved, largest float64
	at := 0
	for i := 1; i < len(p); i++ {
		d := p[i].used - p[i-1].used
		moved += abs(d)
		if abs(d) > abs(largest) {
			largest, at = d, i
		}
	}
	if abs(largest) > moved/2 {
		for i := at; i < len(p); i++ {
			p[i].used -= largest
		}
	}
	slopes := make([]float64, 0, len(p)*(len(p)-1)/2)
	for i := range p {
		for j := i + 1; j < len(p); j++ {
			if dt := (p[j].at - p[i].at).Seconds(); dt > 0 {
				slopes = append(slopes, (p[j].used-p[i].used)/dt)
			}
		}
	}
	if len(slopes) == 0 {
		return nil
	}
	slices.Sort(slopes)
	n := len(slopes)
	m := slopes[n/2]
	if n%2 == 0 {
		m = (slopes[n/2-1] + slopes[n/2]) / 2
	}
	return &m
}

// fullIn is in how many seconds nothing is available any more; nil: not within fullHorizon.
func (g *growth) fullIn(available int64) *float64 {
	r := g.rate()
	if r == nil || *r <= 0 {
		return nil
	}
	s := float64(max(available, 0)) / *r
	if s > fullHorizon.Seconds() {
		return nil
	}
	return &s
}

func abs(f float64) float64 {
	if f < 0 {
		return -f
	}
	return f
}
