package detail

import (
	"fmt"
	"time"

	"berth/backend/api"
	"berth/ui/age"
	"berth/ui/chart"
	"berth/ui/data"
	"berth/ui/money"
	"berth/ui/theme"
)

// findings lists what wants attention, with what to do about it.
func (d *Detail) findings(out []entry) []entry {
	f := d.e.Store.Figures(d.id)
	if f == nil {
		return out
	}
	t := d.e.Theme
	first := true
	for _, a := range f.Active(d.e.Clock()) {
		if first {
			out = append(out, entry{part: partEvents, head: true, label: "Attention"})
			first = false
		}
		g, st := t.Severity(data.Rank(a.Severity))
		what := a.Subject + ": " + a.Text
		out = append(out, entry{part: partEvents, label: "finding", glyph: g, gs: st, value: what, st: t.Text, wrap: true, copy: what,
			tail: d.e.Age(a.Since)})
		if a.Advice != "" {
			out = append(out, entry{part: partEvents, label: "advice", glyph: t.Arrow, gs: t.Dim, value: a.Advice, st: t.Dim, wrap: true,
				copy: a.Advice})
		}
	}
	return out
}

// idleToday says for how long GPUs were idle today, what that cost, and what is not known of it.
func idleToday(d *api.IdleToday) string {
	s := fmt.Sprintf("%.1f GPU hours today", d.GPUSeconds/3600)
	if d.USD != nil && d.GPUSeconds > 0 {
		s += ", " + money.USD(*d.USD)
	}
	if d.Why != "" {
		s += "; not all is known: " + d.Why
	}
	return s
}

// figures lists what is measured, in short: f shows all of it.
func (d *Detail) figures(styled func(label, value string, st theme.Style), head func(string)) {
	t := d.e.Theme
	field := func(label, value string) { styled(label, value, t.Text) }
	f := d.e.Store.Figures(d.id)
	r := d.e.Store.Row(d.id)
	if f == nil || r == nil || !f.Known {
		return
	}
	switch {
	case d.e.Store.Live(r, f):
		head("Now")
	default:
		head("Measured " + ago(d.e.Age(f.Seen())))
		field("why", f.Why)
	}
	if n := len(f.GPUs); n > 0 {
		s := fmt.Sprintf("%d of %d busy", f.Busy, n)
		if f.Lost > 0 {
			s += fmt.Sprintf(", %d lost", f.Lost)
		}
		if f.PowerKnown {
			s += ", " + money.Figure(&f.Power, money.Watt)
		}
		if f.Stale {
			s += ", but these figures are old"
		}
		field("GPUs", s)
		if f.GPUMemMax > 0 {
			unified := ""
			if f.Unified {
				unified = ", unified with the host's"
			}
			field("GPU mem", money.Bytes(f.GPUMemory)+" of "+money.Bytes(f.GPUMemMax)+unified)
		}
	}
	if f.GPUError != "" {
		field("GPUs", f.GPUError)
	}
	if idle := f.IdleToday; idle != nil {
		field("GPUs idle", idleToday(idle))
	}
	if f.CPU != nil {
		s := fmt.Sprintf("%.0f%%", *f.CPU)
		if f.MemoryUsed != nil && f.Memory != nil {
			s += ", memory " + money.Bytes(*f.MemoryUsed) + " of " + money.Size(*f.Memory)
		}
		field("CPU", s)
	}
	if f.DiskPercent != nil {
		s := fmt.Sprintf("%s is at %.0f%%", f.Disk, *f.DiskPercent)
		if f.DiskInodes {
			s = fmt.Sprintf("%s has %.0f%% of its inodes in use", f.Disk, *f.DiskPercent)
		}
		if f.DiskFullIn != nil {
			in, _ := age.Coarse(time.Duration(min(*f.DiskFullIn, 1e9)) * time.Second)
			s += ", full in " + in
		}
		fullIn := f.DiskFullIn
		if f.DiskInodes { // when its space is used up is another matter
			fullIn = nil
		}
		styled("disk", s, chart.Filling(t, f.DiskPercent, fullIn, t.Text))
	}
}
