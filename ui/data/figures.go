package data

import (
	"slices"
	"time"

	"berth/backend/api"
	"berth/gpu"
)

// Figures is what was last measured of an instance. It is not changed any more once it is in the store.
type Figures struct {
	gpu.Summary
	Known     bool       // anything was ever measured; without it Summary is empty
	Received  time.Time  // when Summary came; zero: never
	Silent    *time.Time // since when its agent has said nothing
	Why       string     // why it is silent
	Attention []api.Attention
	IdleToday *api.IdleToday // what its GPUs did not do today; nil: nothing to say

	// The sums over its GPUs. Busy, Idle and Lost don't count those whose utilisation is not known.
	Busy, Idle, Lost     int
	GPUMemory, GPUMemMax int64   // bytes
	Unified              bool    // the memory of GPUs is the host's
	Power                float64 // watts
	PowerKnown           bool
}

// Seen is when the figures were true; zero is never. Ages are counted from receipt, but for figures that were
// old when they came.
func (f *Figures) Seen() time.Time {
	switch {
	case !f.Known:
		return time.Time{}
	case f.Silent != nil:
		if f.Silent.Before(f.Received) {
			return *f.Silent
		}
	case f.At.Before(f.Received.Add(-time.Minute)):
		return f.At
	}
	return f.Received
}

// Active are the findings that nobody acknowledged or muted.
func (f *Figures) Active(now time.Time) []api.Attention {
	var out []api.Attention
	for _, a := range f.Attention {
		if Active(a, now) {
			out = append(out, a)
		}
	}
	return out
}

// Active reports whether a finding is neither acknowledged nor muted.
func Active(a api.Attention, now time.Time) bool {
	return !a.Acknowledged && (a.MutedUntil == nil || !a.MutedUntil.After(now))
}

// Rank orders severities: 3 is critical, 2 a warning, 1 anything less, 0 none.
func Rank(severity string) int {
	switch severity {
	case "critical":
		return 3
	case "warning":
		return 2
	case "":
		return 0
	}
	return 1
}

// Worst is the highest rank of the active findings.
func (f *Figures) Worst(now time.Time) int {
	w := 0
	for i := range f.Attention {
		if Active(f.Attention[i], now) {
			w = max(w, Rank(f.Attention[i].Severity))
		}
	}
	return w
}

// sum fills in the sums over the GPUs.
func (f *Figures) sum() {
	for i := range f.GPUs {
		g := &f.GPUs[i]
		switch {
		case g.Error != "":
			f.Lost++
		case g.Utilization == nil:
		case *g.Utilization >= gpu.BusyPercent:
			f.Busy++
		default:
			f.Idle++
		}
		if g.MemoryUsed != nil && g.MemoryTotal != nil && !(g.Unified && f.Unified) { // the host's memory counts once
			f.GPUMemory += *g.MemoryUsed
			f.GPUMemMax += *g.MemoryTotal
		}
		f.Unified = f.Unified || g.Unified
		if g.Power != nil {
			f.Power += *g.Power
			f.PowerKnown = true
		}
	}
}

// FigureLine is a line of the fleet's figures with the time of its receipt.
type FigureLine struct {
	api.FleetFigures
	Received time.Time // of Summary; zero where there is none
}

// merge takes a newer line in.
func (l *FigureLine) merge(n FigureLine) {
	old, received := l.Summary, l.Received
	*l = FigureLine{FleetFigures: n.FleetFigures, Received: n.Received}
	if n.Summary == nil {
		l.Summary, l.Received = old, received
	} else if old != nil {
		s := *n.Summary
		s.GPUs = gpu.KeepNames(s.GPUs, old.GPUs)
		l.Summary = &s
	}
}

// FigureDelta is what was measured since the last one.
type FigureDelta struct {
	Lines []FigureLine // at most one of each instance
	Err   error        // why there are no figures; nil: they come
}

// Alarm is a critical finding that was not there before.
type Alarm struct {
	ID      string // of the instance
	Finding api.Attention
}

// ApplyFigures takes a delta in and returns the critical findings that are new. What an instance's first line
// brings is not new: it was there before somebody looked.
func (s *Store) ApplyFigures(d FigureDelta, now time.Time) []Alarm {
	s.FigGen++
	s.FigErr = d.Err
	var out []Alarm
	for _, l := range d.Lines {
		old := s.figs[l.Instance]
		f := &Figures{Silent: l.Silent, Why: l.Why, Attention: l.Attention, IdleToday: l.IdleToday}
		switch {
		case l.Summary != nil:
			f.Summary, f.Known, f.Received = *l.Summary, true, l.Received
			if old != nil {
				f.GPUs = gpu.KeepNames(f.GPUs, old.GPUs)
			}
		case old != nil:
			f.Summary, f.Known, f.Received = old.Summary, old.Known, old.Received
		}
		f.sum()
		s.figs[l.Instance] = f
		for _, a := range f.Attention {
			if old == nil {
				break
			}
			since, known := s.told[told{l.Instance, a.ID}]
			if a.Severity == "critical" && Active(a, now) && !old.has(a) && !(known && since.Equal(a.Since)) &&
				!s.elsewhere(l.Instance, a, now) {
				out = append(out, Alarm{l.Instance, a})
			}
		}
		for _, a := range l.Attention {
			if a.Severity == "critical" {
				s.told[told{l.Instance, a.ID}] = a.Since
			}
		}
	}
	return out
}

// elsewhere reports whether another instance on the same host finds the same.
func (s *Store) elsewhere(id string, a api.Attention, now time.Time) bool {
	if a.Host == "" {
		return false
	}
	for other, f := range s.figs {
		for i := range f.Attention {
			b := &f.Attention[i]
			if other != id && b.About(other) == a.About(id) && b.Severity == a.Severity && Active(*b, now) {
				return true
			}
		}
	}
	return false
}

// told is a critical finding of an instance that somebody has been told of.
type told struct{ instance, finding string }

func (f *Figures) has(a api.Attention) bool {
	return slices.ContainsFunc(f.Attention, func(b api.Attention) bool { return b.ID == a.ID && b.Severity == a.Severity })
}

// Figures returns what was last measured of an instance, or nil.
func (s *Store) Figures(id string) *Figures { return s.figs[id] }

// Attended notes what somebody said of a finding, until the service's next line says it too.
func (s *Store) Attended(id string, r api.AttentionRequest, now time.Time) {
	said := s.figs[id]
	if said == nil {
		return
	}
	about := ""
	for i := range said.Attention {
		if a := &said.Attention[i]; a.ID == r.Finding {
			about = a.About(id)
		}
	}
	for other, old := range s.figs { // all that find the same
		f := *old
		f.Attention = slices.Clone(old.Attention)
		changed := false
		for i := range f.Attention {
			a := &f.Attention[i]
			if a.About(other) != about {
				continue
			}
			changed = true
			a.Acknowledged, a.MutedUntil = r.Acknowledge, nil
			if r.MuteSeconds > 0 {
				until := now.Add(time.Duration(r.MuteSeconds * float64(time.Second)))
				a.MutedUntil = &until
			}
		}
		if changed {
			s.figs[other] = &f
		}
	}
	s.FigGen++
}

// Live reports whether an instance's figures are those of now.
func (s *Store) Live(r *Row, f *Figures) bool {
	return f != nil && f.Known && f.Silent == nil && r.State == api.StateRunning && s.FigErr == nil
}

// FigureTotals sums up the figures of the running instances. Money is in US dollars.
type FigureTotals struct {
	Any              bool // anything was measured
	Busy, Idle, Lost int  // GPUs
	Power            float64
	PowerKnown       bool
	// IdlePerHour is what idle GPUs cost an hour now: their share of their instance's price; IdleKnown says whether any
	// price was known.
	IdlePerHour float64
	IdleKnown   bool
	// IdleToday is what idle GPUs cost since midnight, those of instances that are stopped by now too. IdleUnsure is how
	// many instances it does not, or not wholly, count: IdleToday.Why of each says why.
	IdleToday                float64
	IdleUnsure               int
	Critical, Warning, Other int // active findings, of all instances
}

// FigureTotals returns the sums over the whole store.
func (s *Store) FigureTotals(now time.Time) FigureTotals {
	key := [2]uint64{s.Gen, s.FigGen}
	if s.figTotalsGen == key && key[1] > 0 {
		return s.figTotals
	}
	var t FigureTotals
	worst := map[string]int{} // by what a finding is about: what several instances find of one host is one
	shared := map[string]bool{}
	for id, f := range s.figs {
		r := s.rows[id]
		if r == nil {
			continue
		}
		for i := range f.Attention {
			if a := &f.Attention[i]; Active(*a, now) {
				about := a.About(id)
				worst[about] = max(worst[about], Rank(a.Severity))
			}
		}
		if d := f.IdleToday; d != nil {
			switch {
			case d.SumUSD != nil:
				t.IdleToday += *d.SumUSD
			case d.USD != nil:
				t.IdleToday += *d.USD
			}
			if d.Why != "" {
				t.IdleUnsure++
			}
		}
		if !s.Live(r, f) {
			continue
		}
		t.Any = true
		if f.Stale {
			continue // the driver hangs: nobody knows what its GPUs do
		}
		if len(f.GPUs) > 0 && f.GPUs[0].ID != "" {
			if shared[f.GPUs[0].ID] {
				continue // instances on one host show the same GPUs
			}
			shared[f.GPUs[0].ID] = true
		}
		t.Busy, t.Idle, t.Lost = t.Busy+f.Busy, t.Idle+f.Idle, t.Lost+f.Lost
		t.Power, t.PowerKnown = t.Power+f.Power, t.PowerKnown || f.PowerKnown
		rate := Rate(&r.Instance)
		if rate == nil || f.Idle == 0 || len(f.GPUs) == 0 {
			continue
		}
		t.IdleKnown = true
		t.IdlePerHour += *rate * float64(f.Idle) / float64(len(f.GPUs))
	}
	for _, rank := range worst {
		switch rank {
		case 3:
			t.Critical++
		case 2:
			t.Warning++
		default:
			t.Other++
		}
	}
	s.figTotals, s.figTotalsGen = t, key
	return t
}
