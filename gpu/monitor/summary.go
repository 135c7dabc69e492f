package monitor

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"berth/gpu"
)

const (
	// summaryLimit is what a line of a host with 8 GPUs may have, in bytes.
	summaryLimit = 2000
	// xidAge is how long an error of a GPU is in its summary.
	xidAge = time.Hour
	// errorLimit is how much of a GPU's error is in a summary, in bytes: a finding says it in full.
	errorLimit = 48
	// holderLimit is the same of who has a GPU.
	holderLimit = 32
)

// Summary makes a sample small. Names of GPUs are always in it; Shorten leaves them out where they are known. What
// is to be done about findings is left out, from the least severe on, when it would be too long.
func (m *Monitor) Summary(s *gpu.Sample) gpu.Summary {
	m.mu.Lock()
	since := m.idle.since
	m.mu.Unlock()
	out := gpu.Summary{At: s.SampledAt, GPUError: s.GPUError, Stale: s.GPUsStaleSince != nil, CPU: tenth(s.CPU),
		MemoryUsed: s.MemoryUsed, Memory: s.MemoryTotal}
	if len(s.GPUs) > 0 && since != nil {
		at := since.Truncate(time.Second)
		out.GPUIdleSince = &at
	}
	for i := range s.GPUs {
		out.GPUs = append(out.GPUs, summaryOf(&s.GPUs[i], s))
	}
	if d, percent, inodes := fullest(s.Disks); d != nil {
		out.Disk, out.DiskPercent, out.DiskInodes, out.DiskAvailable = d.Mount, tenth(&percent), inodes, d.Available
		if d.FullIn != nil {
			v := math.Round(*d.FullIn)
			out.DiskFullIn = &v
		}
	}
	seen := map[int]bool{}
	for _, p := range s.Processes {
		if p.GPUIndex != nil && !seen[p.PID] {
			seen[p.PID] = true
			out.GPUProcesses++
		}
	}
	out.Attention = slices.Clone(s.Attention)
	shortenAdvice(&out)
	return out
}

func summaryOf(g *gpu.GPU, s *gpu.Sample) gpu.GPUSummary {
	out := gpu.GPUSummary{Name: g.Name, ID: gpu.ShortID(g.UUID), Index: g.Index, Utilization: tenth(g.Utilization),
		MemoryUsed: g.MemoryUsed, MemoryTotal: g.MemoryTotal, Unified: g.Unified,
		Temperature: tenth(g.Temperature), Power: tenth(g.Power), PowerLimit: tenth(g.PowerLimit),
		Error: cut(g.Error, errorLimit)}
	for _, r := range g.Throttle {
		switch r {
		case "power cap", "hardware slowdown", "thermal (software)", "thermal (hardware)", "power brake":
			out.Throttled = true
		}
	}
	if x := g.LastXID; x != nil && !x.Application && x.Severity != "none" && s.SampledAt.Sub(x.At).Abs() < xidAge {
		out.XID = x.Code
	}
	most := int64(-1)
	for _, p := range s.Processes {
		if p.GPUIndex == nil || *p.GPUIndex != g.Index {
			continue
		}
		var v int64
		if p.GPUMemory != nil {
			v = *p.GPUMemory
		}
		if v > most && p.User != "" {
			most, out.User = v, p.User
			if out.Held = ""; p.Owner.Kind != "" {
				out.Held = strings.TrimSpace(p.Owner.Kind + " " + cmp.Or(p.Owner.Name, p.Owner.ID))
			}
		}
	}
	use := g.Use
	for i := range g.MIG {
		use.Held = append(slices.Clip(use.Held), g.MIG[i].Held...)
		use.Next = cmp.Or(use.Next, g.MIG[i].Next)
	}
	switch n := len(use.Held); {
	case n == 1:
		out.Held = cut(use.Held[0].String(), holderLimit)
	case n > 1:
		out.Held = fmt.Sprintf("%s and %d more", cut(use.Held[0].Kind+" "+use.Held[0].ID, holderLimit), n-1)
	}
	if use.Next != nil {
		out.Next = cut(use.Next.String(), holderLimit)
	}
	return out
}

// cut shortens a text to at most n bytes, at a letter's beginning.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// fullest is the local file system with the least room, and how much of its space, or of its inodes if those are
// scarcer, is used. A tmpfs is memory, and its limit is no amount that is there: the figures of memory have it.
func fullest(disks []gpu.Disk) (worst *gpu.Disk, percent float64, inodes bool) {
	for i := range disks {
		d := &disks[i]
		if d.Network || d.ReadOnly || d.Filesystem == "tmpfs" {
			continue
		}
		if v := d.UsedPercent; v != nil && (worst == nil || *v > percent) {
			worst, percent, inodes = d, *v, false
		}
		if v := d.InodesUsed; v != nil && (worst == nil || *v > percent) {
			worst, percent, inodes = d, *v, true
		}
	}
	return worst, percent, inodes
}

// Shorten leaves out of next the names of GPUs that stand in last, the summary before (with its names) of the same
// stream.
func Shorten(last, next gpu.Summary) gpu.Summary {
	next.GPUs = slices.Clone(next.GPUs)
	for i := range next.GPUs {
		if i < len(last.GPUs) && last.GPUs[i].Index == next.GPUs[i].Index && last.GPUs[i].Name == next.GPUs[i].Name &&
			last.GPUs[i].ID == next.GPUs[i].ID {
			next.GPUs[i].Name, next.GPUs[i].ID = "", ""
		}
	}
	return next
}

func shortenAdvice(s *gpu.Summary) {
	if len(s.Attention) == 0 {
		return
	}
	b, err := json.Marshal(s)
	size := len(b)
	for _, severity := range []string{"info", "warning", "critical"} {
		for i := len(s.Attention) - 1; i >= 0 && err == nil && size > summaryLimit; i-- {
			if f := &s.Attention[i]; f.Severity == severity {
				size -= len(f.Advice)
				f.Advice = ""
			}
		}
	}
}

// tenth rounds to a tenth: a line has no room for more.
func tenth(v *float64) *float64 {
	if v == nil {
		return nil
	}
	r := math.Round(*v*10) / 10
	return &r
}
