package chart

import (
	"math"
	"time"

	"berth/gpu"
	"berth/ui/text"
	"berth/ui/theme"
)

// Graph is the history of one metric: the mean as an area, the maximum as a line above it. Set the
// fields, call Lay, then write the rows with Row.
type Graph struct {
	Points []gpu.Point
	Step   time.Duration // that a point covers
	From   time.Time     // the left end; the right end is To
	To     time.Time
	// Min and Max are the ends of the axis. Where Max is not above Min the axis begins at 0 and ends above
	// the largest value.
	Min, Max float64
	Bytes    bool                           // the axis is divided in binary units
	Label    func(v float64) string         // of a value with its unit
	Style    func(mean float64) theme.Style // of the area; nil: one look
	Cursor   int                            // the cell that is read, from 0; negative: none
	Zone     *time.Location                 // of the times on the axis; nil: local

	t         *theme.Theme
	w, h      int // the plot in cells
	label     int // width of the labels on the left
	top       float64
	dt        time.Duration // of one column of dots
	from      time.Time
	mean, max []float64 // by column of dots; NaN: not measured
	ticks     []tick
	axis      bool
}

type tick struct {
	at int // the cell
	s  string
}

// minPlot is how many rows the plot must have for the axis below it to be drawn too.
const minPlot = 3

// Lay computes the graph for w by h cells.
func (g *Graph) Lay(t *theme.Theme, w, h int) {
	g.t = t
	g.axis = h >= minPlot+2
	g.h = h
	if g.axis {
		g.h -= 2
	}
	g.scale()
	g.label = 0
	for _, v := range []float64{g.Min, g.Min + (g.top-g.Min)/2, g.top} {
		g.label = max(g.label, text.Width(g.name(v)))
	}
	if g.label+12 > w {
		g.label = 0
	}
	g.w = max(0, w-g.label-1)
	if g.w == 0 || g.h <= 0 {
		g.w, g.mean, g.max, g.ticks = 0, nil, nil, nil
		return
	}
	n := 2 * g.w
	g.dt = max(time.Millisecond, g.To.Sub(g.From)/time.Duration(n))
	// Columns stand at whole multiples of their width, so that they don't flicker as time goes on.
	end := g.To.Add(g.dt - 1).Truncate(g.dt)
	g.from = end.Add(-time.Duration(n) * g.dt)
	g.bin(n)
	g.divide()
}

func (g *Graph) name(v float64) string {
	if g.Label == nil {
		return ""
	}
	return g.Label(v)
}

// scale decides where the axis ends.
func (g *Graph) scale() {
	g.top = g.Max
	if g.top > g.Min {
		return
	}
	most := 0.0
	for _, p := range g.Points {
		if p, ok := sane(p); ok && !p.At.Before(g.From.Add(-g.Step)) {
			most = max(most, p.Max)
		}
	}
	g.Min = 0
	g.top = nice(most, g.Bytes)
}

// nice is a round number that is not below v.
func nice(v float64, binary bool) float64 {
	if v <= 0 {
		return 1
	}
	base, steps := 10.0, []float64{1, 2, 4, 5, 8, 10}
	if binary {
		base, steps = 1024, []float64{1, 2, 4, 8, 10, 16, 20, 32, 40, 64, 80, 100, 128, 200, 256, 400, 512, 640, 800, 1024}
	}
	unit := math.Pow(base, math.Floor(math.Log(v)/math.Log(base)))
	for _, s := range steps {
		if s*unit >= v*(1-1e-9) {
			return s * unit
		}
	}
	return base * unit
}

// sane returns a point whose maximum is not below its mean, and whether it can have been measured at all.
func sane(p gpu.Point) (gpu.Point, bool) {
	const most = 1e18
	if !(math.Abs(p.Mean) < most) {
		return p, false
	}
	if !(math.Abs(p.Max) < most) || p.Max < p.Mean {
		p.Max = p.Mean
	}
	return p, true
}

// bin spreads the points over n columns.
func (g *Graph) bin(n int) {
	if cap(g.mean) < n {
		g.mean, g.max = make([]float64, n), make([]float64, n)
	}
	g.mean, g.max = g.mean[:n], g.max[:n]
	for i := range g.mean {
		g.mean[i], g.max[i] = math.NaN(), math.NaN()
	}
	count := make([]int32, n)
	dt := float64(g.dt)
	for _, p := range g.Points {
		p, ok := sane(p)
		if !ok {
			continue
		}
		at := float64(p.At.Sub(g.from))
		a := int(math.Floor(at / dt))
		b := max(a, int(math.Ceil((at+float64(g.Step))/dt-1e-6))-1)
		if b < 0 || a >= n {
			continue
		}
		for c := max(a, 0); c <= min(b, n-1); c++ {
			if count[c] == 0 {
				g.mean[c], g.max[c] = 0, p.Max
			}
			count[c]++
			g.mean[c] += (p.Mean - g.mean[c]) / float64(count[c])
			g.max[c] = max(g.max[c], p.Max)
		}
	}
}

// Cells is the number of cells that the cursor can stand on.
func (g *Graph) Cells() int { return g.w }

// Reading is what a cell shows.
type Reading struct {
	At, Until time.Time
	Mean, Max float64
	OK        bool // it was measured
}

// Read returns what the graph shows at a cell.
func (g *Graph) Read(cell int) Reading {
	if cell < 0 || cell >= g.w {
		return Reading{}
	}
	r := Reading{At: g.from.Add(time.Duration(2*cell) * g.dt), Until: g.from.Add(time.Duration(2*cell+2) * g.dt)}
	n := 0.0
	for c := 2 * cell; c < 2*cell+2; c++ {
		if !math.IsNaN(g.mean[c]) {
			r.Mean += g.mean[c]
			r.Max = max(r.Max, g.max[c])
			n++
		}
	}
	if r.OK = n > 0; r.OK {
		r.Mean /= n
	}
	return r
}

// spacings are the distances between labels of time.
var spacings = []time.Duration{time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute,
	2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 48 * time.Hour,
	5 * 24 * time.Hour, 10 * 24 * time.Hour}

// divide places the labels of time.
func (g *Graph) divide() {
	g.ticks = g.ticks[:0]
	cell := 2 * g.dt
	span := cell * time.Duration(g.w)
	format, width := "15:04", 5
	switch {
	case span >= 48*time.Hour:
		format, width = "Jan 2", 6
	case span < 4*time.Minute:
		format, width = "15:04:05", 8
	}
	every := spacings[len(spacings)-1]
	for _, s := range spacings {
		if s >= cell*time.Duration(width+4) && (format != "Jan 2" || s >= 24*time.Hour) {
			every = s
			break
		}
	}
	zone := g.Zone
	if zone == nil {
		zone = time.Local
	}
	// Whole hours and days are those of the zone.
	_, off := g.from.In(zone).Zone()
	shift := time.Duration(off) * time.Second
	at := g.from.Add(shift).Truncate(every).Add(-shift)
	for ; at.Before(g.from.Add(span)); at = at.Add(every) {
		if c := int(at.Sub(g.from) / cell); !at.Before(g.from) && c+width <= g.w {
			g.ticks = append(g.ticks, tick{c, at.In(zone).Format(format)})
		}
	}
}
