package fleet

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/gpu"
	"berth/ui/age"
	"berth/ui/chart"
	"berth/ui/data"
	"berth/ui/draw"
	"berth/ui/money"
	"berth/ui/text"
	"berth/ui/theme"
)

// resort is how often at most the order follows figures: rows that jump can't be read.
const resort = time.Second

// measured takes new figures in: the order follows where it is by them.
func (f *Fleet) measured() {
	if f.sortCol.live == nil {
		return
	}
	if now := f.e.Now(); now.Sub(f.sortedAt) >= resort {
		f.sortedAt = now
		f.Keep(f.sortLive)
	}
}

// byFigure orders by a value of the figures.
func byFigure(get func(f *data.Figures) float64) func(s *data.Store, r *data.Row) float64 {
	return func(s *data.Store, r *data.Row) float64 {
		if f := figures(s, r); f != nil {
			return get(f)
		}
		return math.NaN()
	}
}

// figures are what was measured on an instance, also a while ago where it can't be reached; nil: nothing, or it does
// not run, and what was true then is shown of none.
func figures(s *data.Store, r *data.Row) *data.Figures {
	switch r.State {
	case api.StateStopped, api.StateCreateFailed, api.StateDeleting:
		return nil
	}
	if f := s.Figures(r.ID); f != nil && f.Known {
		return f
	}
	return nil
}

// keyed is a row with the figure that it is ordered by.
type keyed struct {
	v float64
	r *data.Row
}

// sortLive orders the rows by a figure, which is looked up once a row.
func (f *Fleet) sortLive() {
	keys := f.byKey[:0]
	for _, r := range f.rows {
		keys = append(keys, keyed{f.sortCol.live(f.e.Store, r), r})
	}
	slices.SortFunc(keys, func(a, b keyed) int {
		c := 0
		switch x, y := math.IsNaN(a.v), math.IsNaN(b.v); {
		case x && y:
		case x:
			c = 1
		case y:
			c = -1
		default:
			c = cmp.Compare(a.v, b.v)
		}
		if c != 0 {
			if f.Down {
				return -c
			}
			return c
		}
		return byName(a.r, b.r)
	})
	for i, k := range keys {
		f.rows[i] = k.r
	}
	clear(keys) // so that what has gone can be freed
	f.byKey = keys
}

func orNaN(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

// load is the mean utilisation of an instance's GPUs, in percent.
func load(f *data.Figures) float64 {
	sum, n := 0.0, 0
	for i := range f.GPUs {
		if u := f.GPUs[i].Utilization; u != nil {
			sum += *u
			n++
		}
	}
	return sum / float64(n)
}

// bars is how many cells the GPUs of one instance take at most.
const bars = 8

// gpusCell writes a cell for each GPU as high as its utilisation, and what kind they are. Where there are no
// figures the kind stands alone; old figures are grey and have their age behind them.
func gpusCell(f *Fleet, l *draw.Line, r *data.Row, w int) {
	t := f.e.Theme
	fig := figures(f.e.Store, r)
	if fig == nil || len(fig.GPUs) == 0 {
		quiet(func(_ *Fleet, r *data.Row) string { return money.GPUs(r.GPUs) }, false)(f, l, r, w)
		return
	}
	end := l.Col() + min(w, l.Room())
	live := f.e.Store.Live(r, fig) && !fig.Stale
	n := len(fig.GPUs)
	for i := range min(n, bars) {
		from, to := i*n/min(n, bars), (i+1)*n/min(n, bars)
		sum, known, lost, slow := 0.0, 0, false, false
		for k := from; k < to; k++ {
			g := &fig.GPUs[k]
			lost = lost || g.Error != ""
			slow = slow || g.Throttled
			if g.Utilization != nil {
				sum += *g.Utilization
				known++
			}
		}
		v := sum / float64(known)
		st, glyph := t.Good, chart.Level(t, v/100)
		switch {
		case lost:
			st, glyph = t.Bad, t.Cross
		case known == 0:
			st = t.Odd
		case slow:
			st = t.Busy
		case v < gpu.BusyPercent:
			st = t.Dim
		}
		if !live {
			st = t.Dim
		}
		l.Glyph(st, glyph)
	}
	note := money.Short(fig.GPUs[0].Name)
	if n > bars {
		note = fmt.Sprintf("%dx %s", n, note)
	}
	if !live && f.e.Store.Live(r, fig) {
		note = "old"
	} else if !live {
		note = f.e.Age(fig.Seen())
		if long := note + " ago"; note != "now" && l.Col()+1+len(long) <= end {
			note = long
		}
	}
	if room := end - l.Col() - 1; room >= 3 {
		l.Space(1).Text(t.Dim, text.Truncate(plaintext.Clean(note), room, t.Ellipsis))
	}
	l.To(end)
}

// figureCell writes a figure, grey where it is not that of now.
func figureCell(get func(f *Fleet, fig *data.Figures, w int) (string, theme.Style), right bool) func(*Fleet, *draw.Line,
	*data.Row, int) {
	return func(f *Fleet, l *draw.Line, r *data.Row, w int) {
		fig := figures(f.e.Store, r)
		if fig == nil {
			l.Cell(f.e.Theme.Dim, money.Unknown, w, right)
			return
		}
		s, st := get(f, fig, w)
		if s == "" {
			s, st = money.Unknown, f.e.Theme.Dim
		}
		if !f.e.Store.Live(r, fig) {
			st = f.e.Theme.Dim
		}
		l.Cell(st, s, w, right)
	}
}

func gpuMemory(f *Fleet, fig *data.Figures, _ int) (string, theme.Style) {
	if fig.GPUMemMax == 0 {
		return "", f.e.Theme.Dim
	}
	unified := ""
	if fig.Unified {
		unified = " u"
	}
	return money.Of(fig.GPUMemory, fig.GPUMemMax) + unified, f.e.Theme.Text
}

// full writes in how long a disk is full.
func full(seconds float64) string {
	s, _ := age.Coarse(time.Duration(min(seconds, 1e9)) * time.Second)
	if s == "now" {
		s = "1m"
	}
	return s
}

func diskFigure(f *Fleet, fig *data.Figures, w int) (string, theme.Style) {
	t := f.e.Theme
	if fig.DiskPercent == nil {
		return "", t.Dim
	}
	s := fmt.Sprintf("%.0f%%", *fig.DiskPercent)
	if fig.DiskInodes { // when its space is used up is another matter
		st := chart.Filling(t, fig.DiskPercent, nil, t.Text)
		if long := s + " inodes"; len(long) <= w {
			return long, st
		}
		return s + " ino", st
	}
	st := chart.Filling(t, fig.DiskPercent, fig.DiskFullIn, t.Text)
	if soon := fig.DiskFullIn != nil && *fig.DiskFullIn < 48*3600; soon {
		if long := s + " full " + full(*fig.DiskFullIn); len(long) <= w {
			s = long
		} else if short := s + " " + full(*fig.DiskFullIn); len(short) <= w {
			s = short
		}
	}
	return s, st
}

// idleAt is since when nothing was done on an instance: on its GPUs where that is known.
func idleAt(s *data.Store, r *data.Row) *time.Time {
	if r.State != api.StateRunning {
		return nil
	}
	if fig := s.Figures(r.ID); fig != nil && fig.Known && len(fig.GPUs) > 0 {
		return fig.GPUIdleSince
	}
	return r.IdleSince
}

// mark writes the sign of what wants attention.
func (f *Fleet) mark(l *draw.Line, r *data.Row) {
	fig := f.e.Store.Figures(r.ID)
	if fig == nil {
		return
	}
	g, st := f.e.Theme.Severity(fig.Worst(f.e.Clock()))
	l.To(2).Glyph(st, g)
}
