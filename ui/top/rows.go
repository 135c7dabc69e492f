package top

import (
	"fmt"
	"math"
	"strings"

	"berth/backend/base/plaintext"
	"berth/gpu"
	"berth/ui/chart"
	"berth/ui/draw"
	"berth/ui/money"
	"berth/ui/text"
	"berth/ui/theme"
)

// gpuWidths are the widths of a GPU's columns on a screen of w cells; 0: not shown.
type gpuWidths struct{ name, util, mem, note, clock, fan, bus, link int }

// tempWidth and powerWidth are the widths of "100 °C" and "1200/1400 W", each with a gap.
const tempWidth, powerWidth = 7, 12

func (s *Top) gpuLayout(w int) gpuWidths {
	fans, links, bus := false, false, hasBus(s.sample)
	for i := range s.sample.GPUs {
		fans = fans || s.sample.GPUs[i].Fan != nil
		links = links || s.sample.GPUs[i].NVLinkRx != nil
	}
	c := gpuWidths{name: 8, util: 8, mem: 6}
	// cursor, index, percent, sizes and the gaps between them take 25.
	rest := w - 25 - tempWidth - powerWidth - c.name - c.util - c.mem
	take := func(n int) int {
		if rest >= n {
			rest -= n
			return n
		}
		return 0
	}
	c.note = take(10)
	c.clock = take(15)
	if bus {
		c.bus = take(20)
	}
	if (c.bus > 0 || !bus) && fans {
		c.fan = take(8)
	}
	if (c.bus > 0 || !bus) && links {
		c.link = take(20)
	}
	more := max(0, min(rest, 60))
	c.name += min(more/5, 8)
	c.util += more * 2 / 5
	c.mem += more / 5
	c.note += min(more/5, 30)
	return c
}

func (s *Top) gpuHead(l *draw.Line) {
	t := s.e.Theme
	c := s.gpuLayout(l.Col() + l.Room())
	l.Space(1).Cell(t.Dim, "#", 2, false).Cell(t.Dim, "GPU", c.name+1, false).Cell(t.Dim, "UTILISATION", c.util+6,
		false).Cell(t.Dim, "MEMORY", c.mem+14, false)
	l.Cell(t.Dim, "TEMP", tempWidth, false).Cell(t.Dim, "POWER", powerWidth, false)
	if c.clock > 0 {
		l.Cell(t.Dim, "SM CLOCK", c.clock, false)
	}
	if c.fan > 0 {
		l.Cell(t.Dim, "FAN", c.fan, false)
	}
	if c.bus > 0 {
		l.Cell(t.Dim, "PCIE IN/OUT", c.bus, false)
	}
	if c.link > 0 {
		l.Cell(t.Dim, "NVLINK IN/OUT", c.link, false)
	}
}

// gpuRow writes a GPU with its bars.
func (s *Top) gpuRow(l *draw.Line, g *gpu.GPU) {
	t := s.e.Theme
	c := s.gpuLayout(l.Col() + l.Room())
	text1, good, bad, busy := s.grey(t.Text), s.grey(t.Good), s.grey(t.Bad), s.grey(t.Busy)
	stale := s.sample.GPUsStaleSince != nil
	if stale {
		text1, good = t.Dim, t.Dim
	}
	l.Cell(text1, fmt.Sprint(g.Index), 2, true).Space(1).Cell(s.grey(t.Bold), money.Short(g.Name), c.name, false).Space(1)
	if g.Error != "" {
		l.Glyph(bad, t.Cross).Space(1).Text(bad, g.Error)
		if g.LastXID != nil {
			l.Text(bad, fmt.Sprintf(" %s XID %d %s", t.Dot, g.LastXID.Code, g.LastXID.Meaning))
		}
		return
	}
	end := l.Col() + c.util + 6
	if g.Utilization == nil {
		l.Cell(t.Dim, unsupported, c.util+5, false)
	} else {
		st := good
		if *g.Utilization < gpu.BusyPercent {
			st = t.Dim
		}
		chart.Bar(l, t, c.util, chart.Part{Share: *g.Utilization / 100, Style: st})
		l.Cell(text1, money.Figure(g.Utilization, money.Percent), 5, true)
	}
	l.To(end)
	end += c.mem + 14
	share := chart.Share(g.MemoryUsed, g.MemoryTotal)
	st := good
	if share >= 0.95 {
		st = busy
	}
	chart.Bar(l, t, c.mem, chart.Part{Share: share, Style: st})
	l.Space(1)
	if g.MemoryUsed != nil && g.MemoryTotal != nil {
		used, total, _ := strings.Cut(money.Of(*g.MemoryUsed, *g.MemoryTotal), "/")
		l.Text(text1, used).Text(t.Dim, "/"+total)
		if g.Unified {
			l.Text(t.Dim, " u")
		}
	} else {
		l.Text(t.Dim, money.Unknown)
	}
	l.To(end)
	st = text1
	if g.Temperature != nil && g.SlowdownTemperature != nil && *g.Temperature >= *g.SlowdownTemperature-5 {
		st = bad
	} else if g.Temperature != nil && *g.Temperature >= 85 {
		st = busy
	}
	l.Cell(st, money.Figure(g.Temperature, money.Celsius), tempWidth-1, true).Space(1)
	end += tempWidth + powerWidth
	power, most, both := strings.Cut(money.FigureOf(g.Power, g.PowerLimit, money.Watt), "/")
	l.Cell(text1, power, 4, true)
	if both {
		l.Text(t.Dim, "/"+most)
	}
	l.To(end)
	if c.clock > 0 {
		l.Cell(text1, money.FigureOf(g.SMClock, g.MaxSMClock, money.MHz), c.clock, false)
	}
	if c.fan > 0 {
		l.Cell(text1, money.Figure(g.Fan, money.Percent), c.fan, false)
	}
	if c.bus > 0 {
		bus := ""
		if !g.Unified {
			bus = rates(g.PCIeRx, g.PCIeTx)
		}
		l.Cell(text1, bus, c.bus, false)
	}
	if c.link > 0 {
		l.Cell(text1, rates(g.NVLinkRx, g.NVLinkTx), c.link, false)
	}
	if n, st := s.gpuNote(g, l.Room()); n != "" {
		if s.old() != "" {
			st = t.Dim
		}
		l.Text(st, n)
	}
}

func rates(in, out *int64) string {
	if in == nil && out == nil {
		return money.Unknown
	}
	return bytesOf(in) + "/" + bytesOf(out) + "/s"
}

// gpuNote is what is the matter with a GPU, in a few words: at best in w cells.
func (s *Top) gpuNote(g *gpu.GPU, w int) (string, theme.Style) {
	t := s.e.Theme
	var out []string
	st := t.Dim
	if g.LastXID != nil {
		out = append(out, fmt.Sprintf("XID %d", g.LastXID.Code))
		if st = t.Bad; g.LastXID.Application {
			st = t.Busy
		}
	}
	if e := g.ECC; e != nil && (e.RemapFailed != nil && *e.RemapFailed || e.Uncorrected != nil && *e.Uncorrected > 0) {
		out, st = append(out, "ECC errors"), t.Bad
	} else if e != nil && e.RemapPending != nil && *e.RemapPending {
		out, st = append(out, "reset needed"), t.Busy
	}
	if len(g.Throttle) > 0 && g.Throttle[0] != "idle" {
		out = append(out, "held: "+strings.Join(g.Throttle, ", "))
		if st == t.Dim {
			st = t.Busy
		}
	}
	for _, h := range g.Held {
		out = append(out, h.String())
	}
	if g.Next != nil {
		out = append(out, "next: "+g.Next.String())
	}
	if n := len(g.MIG); n > 0 {
		out = append(out, fmt.Sprintf("%d MIG", n))
	}
	if g.Unified {
		out = append(out, "unified memory")
		if text.Width(strings.Join(out, ", ")) > w {
			out[len(out)-1] = "unified"
		}
	}
	if len(out) == 0 && len(g.Throttle) > 0 {
		return g.Throttle[0], t.Dim
	}
	return strings.Join(out, ", "), st
}

const labelWidth = 5

func (s *Top) cpuRow(l *draw.Line) {
	t := s.e.Theme
	v := s.sample
	w := l.Col() + l.Room()
	st := s.grey(t.Text)
	l.Cell(t.Dim, "CPU", labelWidth, false)
	if v.CPU != nil {
		chart.Bar(l, t, barWidth(w), chart.Part{Share: *v.CPU / 100, Style: s.grey(chart.Heat(t, *v.CPU))})
		l.Cell(st, money.Figure(v.CPU, money.Percent), 5, true)
	}
	l.Space(2)
	said := []string{}
	if v.Load1 != nil && v.Load5 != nil && v.Load15 != nil {
		said = append(said, "load "+money.Figure(v.Load1, "")+" "+money.Figure(v.Load5, "")+" "+money.Figure(v.Load15, ""))
	}
	if p := v.Pressure; p != nil {
		said = append(said, fmt.Sprintf("waiting cpu %.0f%% mem %.0f%% io %.0f%%", p.CPU, p.Memory, p.IO))
	}
	if v.Steal != nil && *v.Steal >= 1 {
		said = append(said, "stolen "+money.Figure(v.Steal, money.Percent))
	}
	words := strings.Join(said, "  ")
	// The cores, each as a cell, where there is room for all.
	if n := len(v.Cores); n > 1 && l.Room() >= n+2+len(words) || n > 1 && l.Room() >= n && len(words) > l.Room() {
		for _, c := range v.Cores {
			cs := s.grey(chart.Heat(t, c))
			if c < 2 {
				cs = t.Dim
			}
			l.Glyph(cs, chart.Level(t, c/100))
		}
		l.Space(2)
	}
	l.Text(st, words)
}

// barWidth is how wide the bars of the host and its disks are.
func barWidth(w int) int { return max(8, min(30, w/6)) }

func (s *Top) memRow(l *draw.Line) {
	t := s.e.Theme
	v := s.sample
	w := l.Col() + l.Room()
	st := s.grey(t.Text)
	l.Cell(t.Dim, "MEM", labelWidth, false)
	used := chart.Share(v.MemoryUsed, v.MemoryTotal)
	chart.Bar(l, t, barWidth(w), chart.Part{Share: used, Style: s.grey(chart.Heat(t, used*100))},
		chart.Part{Share: chart.Share(v.MemoryCache, v.MemoryTotal), Style: s.grey(t.Accent), Light: true})
	if !math.IsNaN(used) {
		l.Cell(st, fmt.Sprintf("%.0f%%", 100*used), 5, true)
	}
	l.Space(2).Text(st, of(v.MemoryUsed, v.MemoryTotal))
	if v.MemoryCache != nil {
		l.Text(t.Dim, "  and cache "+bytesOf(v.MemoryCache))
	}
	if v.SwapTotal != nil && *v.SwapTotal > 0 {
		ss := st
		if sum(v.SwapIn, v.SwapOut) > 1<<20 {
			ss = s.grey(t.Bad)
		}
		l.Text(ss, "  swap "+of(v.SwapUsed, v.SwapTotal))
		if sum(v.SwapIn, v.SwapOut) > 0 {
			l.Text(ss, " in "+rateOf(v.SwapIn)+" out "+rateOf(v.SwapOut))
		}
	}
}

func (s *Top) netRow(l *draw.Line) {
	l.Cell(s.e.Theme.Dim, "NET", labelWidth, false)
	first := s.items[0].index
	for _, k := range s.items {
		if k.kind == netItem {
			first = k.index
		}
	}
	for n := range s.sample.Networks {
		i := (first + n) % len(s.sample.Networks)
		x := &s.sample.Networks[i]
		if n > 0 && (l.Room() < 40 || sum(x.Rx, x.Tx) == 0) {
			continue
		}
		l.Text(s.grey(s.e.Theme.Bold), x.Name).Text(s.grey(s.e.Theme.Text),
			"  in "+rateOf(x.Rx)+"  out "+rateOf(x.Tx)).Space(3)
	}
}

func (s *Top) devRow(l *draw.Line) {
	l.Cell(s.e.Theme.Dim, "I/O", labelWidth, false)
	first := 0
	for _, k := range s.items {
		if k.kind == devItem {
			first = k.index
		}
	}
	for n := range s.sample.Devices {
		i := (first + n) % len(s.sample.Devices)
		x := &s.sample.Devices[i]
		if n > 0 && (l.Room() < 50 || sum(x.Read, x.Write) == 0) {
			continue
		}
		l.Text(s.grey(s.e.Theme.Bold), x.Name).Text(s.grey(s.e.Theme.Text),
			"  read "+rateOf(x.Read)+"  written "+rateOf(x.Write))
		if x.Busy != nil {
			l.Text(s.grey(chart.Heat(s.e.Theme, *x.Busy)), "  "+money.Figure(x.Busy, "% busy"))
		}
		l.Space(3)
	}
}

// mountWidth is the width of the mounts' column, as wide as they are where there is room.
func (s *Top) mountWidth(w int) int {
	n := 9
	for i := range s.sample.Disks {
		n = max(n, text.Width(plaintext.Clean(s.sample.Disks[i].Mount)))
	}
	spare := w - 1 - s.diskFixed(w)
	if w >= fileSystemFrom {
		spare -= 18 // for what kind of file system it is
	}
	return min(n, max(9, w/4, min(28, w/8), spare))
}

// fileSystemFrom is the width from which on a disk's line has room for its file system.
const fileSystemFrom = 100

// diskFixed is what a disk's line has between its mount and its file system.
func (s *Top) diskFixed(w int) int {
	return barWidth(w) + 7 + 14 + 12 + s.growthWidth()
}

// growthWidth is the width of the growths' column: as wide as what stands in it.
func (s *Top) growthWidth() int {
	n := len("GROWTH")
	for i := range s.sample.Disks {
		n = max(n, text.Width(growth(&s.sample.Disks[i])))
	}
	return min(n, 21) + 2
}

// growth says how fast a disk fills, and until when it is full.
func growth(d *gpu.Disk) string {
	g := ""
	if d.Growth != nil && math.Abs(*d.Growth) >= 1 {
		g = size(*d.Growth) + "/s"
		if *d.Growth > 0 {
			g = "+" + g
		}
	}
	if d.FullIn != nil {
		g += " full in " + span(*d.FullIn)
	}
	return strings.TrimSpace(g)
}

// mount is a disk's mount in w cells: no two read the same.
func (s *Top) mount(d *gpu.Disk, w int) string {
	var all []string
	at := 0
	for i := range s.sample.Disks {
		if &s.sample.Disks[i] == d {
			at = i
		}
		all = append(all, plaintext.Clean(s.sample.Disks[i].Mount))
	}
	return text.Distinct(all, w, s.e.Theme.Ellipsis)[at]
}

func (s *Top) diskHead(l *draw.Line) {
	t := s.e.Theme
	w := l.Col() + l.Room()
	l.Cell(t.Dim, "DISK", s.mountWidth(w)+1, false).Cell(t.Dim, "USED", barWidth(w)+7, false).Cell(t.Dim, "SPACE", 14,
		false).Cell(t.Dim, "INODES", 12, false).Cell(t.Dim, "GROWTH", s.growthWidth(), false)
	if w >= fileSystemFrom && l.Room() > 10 {
		l.Text(t.Dim, "FILE SYSTEM")
	}
}

func (s *Top) diskRow(l *draw.Line, d *gpu.Disk) {
	t := s.e.Theme
	w := l.Col() + l.Room()
	st := s.grey(t.Text)
	mount := s.mountWidth(w)
	l.Cell(s.grey(t.Bold), s.mount(d, mount), mount, false).Space(1)
	end := l.Col() + barWidth(w) + 7
	if d.UsedPercent != nil {
		hs := s.grey(chart.Filling(t, d.UsedPercent, d.FullIn, t.Good))
		chart.Bar(l, t, barWidth(w), chart.Part{Share: *d.UsedPercent / 100, Style: hs})
		l.Cell(hs, money.Figure(d.UsedPercent, money.Percent), 5, true)
	}
	l.To(end)
	if d.StaleSince != nil {
		l.Text(s.grey(t.Warn), "does not answer for "+s.e.Age(*d.StaleSince))
		return
	}
	if d.Total != nil {
		l.Cell(st, of(d.Used, d.Total), 14, false)
	} else if d.Available != nil {
		l.Cell(st, size(float64(*d.Available))+" free", 14, false)
	}
	is := t.Dim
	if d.InodesUsed != nil {
		is = s.grey(chart.Filling(t, d.InodesUsed, nil, t.Dim))
	}
	inodes := money.Figure(d.InodesUsed, money.Percent)
	if s.view < graphFrom && d.InodesUsed != nil { // there is no heading
		inodes = "inodes " + inodes
	}
	l.Cell(is, inodes, 12, false)
	gs := t.Dim
	if d.FullIn != nil {
		gs = s.grey(chart.Filling(t, d.UsedPercent, d.FullIn, t.Text))
	}
	l.Cell(gs, growth(d), s.growthWidth(), false)
	if w >= fileSystemFrom && l.Room() > 10 {
		what := d.Filesystem + " on " + d.Device
		if d.Device == "" {
			what = d.Filesystem
		}
		if d.ReadOnly {
			what += ", read-only"
		}
		l.Text(t.Dim, text.Truncate(plaintext.Clean(what), l.Room(), t.Ellipsis))
	}
}
