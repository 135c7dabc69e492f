package attention

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"berth/gpu"
)

// observation is the figure of one rule about one subject in one sample.
type observation struct {
	rule    string
	key     string // which subject, for the finding's id
	subject string // the same for people
	value   float64
	text    string
	advice  string // instead of the rule's
	unknown bool   // this sample does not tell
}

// kinds are the rules that there are, and what they are about.
var kinds = map[string]string{
	"gpu-lost": "a GPU that gives no figures", "gpu-figures": "a driver that gives no figures", "gpu-hot": "temperature",
	"gpu-throttled": "clocks held back",
	"gpu-xid":       "errors of the driver", "gpu-ecc": "memory errors", "gpu-remap": "rows of memory to be replaced",
	"gpu-memory-held": "memory that no process holds",
	"disk-full":       "space", "disk-filling": "growth", "disk-inodes": "files",
	"disk-hung": "a file system that does not answer", "memory-full": "memory", "swap-storm": "swap",
}

const (
	// hotFrom is where a GPU is hot that does not say from where on it slows itself down, in degrees Celsius.
	hotFrom = 85
	// hotMargin is how far below its own limit a GPU is hot, in degrees.
	hotMargin = 5
	// xidAge is how long an error of the driver is news.
	xidAge = time.Hour
	// fillLimit is from when on it is too soon that a disk is full, in hours.
	fillLimit = 6
)

// heldBack are the reasons for lower clocks that something should be done about.
var heldBack = []string{"hardware slowdown", "thermal (software)", "thermal (hardware)", "power brake"}

func observe(s *gpu.Sample) []observation {
	var out []observation
	stale := s.GPUsStaleSince != nil
	if s.GPUSource != "" || len(s.GPUs) > 0 {
		out = append(out, observation{rule: "gpu-figures", subject: "GPUs", value: flag(s.GPUError != "" || stale),
			text: s.GPUError})
	}
	for i := range s.GPUs {
		for _, o := range observeGPU(s, &s.GPUs[i]) {
			o.unknown = o.unknown || stale
			out = append(out, o)
		}
	}
	for i := range s.Disks {
		out = append(out, observeDisk(&s.Disks[i])...)
	}
	if s.MemoryTotal != nil && s.MemoryAvailable != nil && *s.MemoryTotal > 0 {
		used := 100 * (1 - float64(*s.MemoryAvailable)/float64(*s.MemoryTotal))
		out = append(out, observation{rule: "memory-full", subject: "memory", value: used,
			text: fmt.Sprintf("only %s of %s of memory are available", size(*s.MemoryAvailable), size(*s.MemoryTotal))})
	}
	if s.SwapIn != nil && s.SwapOut != nil {
		rate := *s.SwapIn + *s.SwapOut
		out = append(out, observation{rule: "swap-storm", subject: "swap", value: float64(rate), text: size(rate) +
			"/s go in and out of swap"})
	}
	return out
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

func observeGPU(s *gpu.Sample, g *gpu.GPU) []observation {
	name := fmt.Sprintf("GPU %d", g.Index)
	key := g.UUID
	if key == "" {
		key = fmt.Sprint(g.Index)
	}
	var out []observation
	add := func(rule string, value float64, text, advice string) {
		out = append(out, observation{rule: rule, key: key, subject: name, value: value, text: text, advice: advice})
	}
	add("gpu-lost", flag(g.Error != ""), g.Error, "")
	if g.Error != "" {
		// Nothing else of it can be told; what was found stays.
		for _, r := range []string{"gpu-ecc", "gpu-remap"} {
			out = append(out, observation{rule: r, key: key, subject: name, unknown: true})
		}
	}
	if x := g.LastXID; x != nil {
		value := map[string]float64{"warning": 1, "critical": 2}[x.Severity]
		if s.SampledAt.Sub(x.At) >= xidAge {
			value = 0
		}
		add("gpu-xid", value, fmt.Sprintf("XID %d: %s", x.Code, x.Meaning), x.Advice)
	}
	if g.Error != "" {
		return out
	}
	if g.Temperature != nil {
		limit := float64(hotFrom)
		if g.SlowdownTemperature != nil && *g.SlowdownTemperature > hotMargin {
			limit = *g.SlowdownTemperature - hotMargin
		}
		add("gpu-hot", *g.Temperature-limit, fmt.Sprintf("%.0f °C; it slows itself down from %.0f °C on", *g.Temperature,
			limit+hotMargin), "")
	}
	if g.Throttle != nil {
		var why []string
		for _, r := range g.Throttle {
			if slices.Contains(heldBack, r) {
				why = append(why, r)
			}
		}
		add("gpu-throttled", flag(len(why) > 0), "its clocks are held back: "+strings.Join(why, ", "), "")
	}
	if e := g.ECC; e != nil {
		if e.Uncorrected != nil {
			add("gpu-ecc", float64(*e.Uncorrected), fmt.Sprintf("%d memory errors that could not be corrected", *e.Uncorrected),
				"")
		}
		switch {
		case e.RemapFailed != nil && *e.RemapFailed:
			add("gpu-remap", 2, "a broken row of its memory could not be replaced", "")
		case e.RemapPending != nil:
			add("gpu-remap", flag(*e.RemapPending), "a broken row of its memory is replaced at the next reset", "")
		}
	}
	if g.MemoryUsed != nil && !g.Unified { // else it is the host's, and any process may use it
		held := float64(*g.MemoryUsed)
		for i := range s.Processes {
			if p := &s.Processes[i]; p.GPUIndex != nil && *p.GPUIndex == g.Index && p.State != "zombie" {
				held = 0
			}
		}
		add("gpu-memory-held", held, size(*g.MemoryUsed)+" are in use, and no process uses it", "")
	}
	return out
}

func observeDisk(d *gpu.Disk) []observation {
	var out []observation
	add := func(rule string, value float64, unknown bool, text string) {
		out = append(out, observation{rule: rule, key: d.Mount, subject: d.Mount, value: value, unknown: unknown, text: text})
	}
	hung := d.StaleSince != nil
	text := ""
	if hung {
		text = "does not answer since " + d.StaleSince.UTC().Format("15:04:05 UTC")
	}
	add("disk-hung", flag(hung), false, text)
	if d.ReadOnly {
		return out // an image that is always full
	}
	if d.UsedPercent != nil {
		text := fmt.Sprintf("%.0f%% full", *d.UsedPercent)
		if d.Available != nil {
			text += ", " + size(*d.Available) + " left"
		}
		add("disk-full", *d.UsedPercent, hung, text)
		sooner := math.Inf(-1)
		if d.FullIn != nil {
			sooner = fillLimit - *d.FullIn/3600
			text = fmt.Sprintf("full in about %s if it goes on like this", about(*d.FullIn))
		}
		add("disk-filling", sooner, hung, text)
	}
	if d.InodesUsed != nil {
		add("disk-inodes", *d.InodesUsed, hung, fmt.Sprintf("%.0f%% of its files are in use", *d.InodesUsed))
	}
	return out
}

// about writes seconds for people.
func about(s float64) string {
	switch {
	case s < 90*60:
		return fmt.Sprintf("%.0f minutes", max(math.Round(s/60), 1))
	case s < 36*3600:
		return fmt.Sprintf("%.0f hours", math.Round(s/3600))
	}
	return fmt.Sprintf("%.0f days", math.Round(s/86400))
}
