package top

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"berth/backend/base/plaintext"
	"berth/gpu"
	"berth/ui/chart"
	"berth/ui/draw"
	"berth/ui/money"
	"berth/ui/text"
	"berth/ui/theme"
)

// fact is one line of the page that says everything of a thing: a heading, or a label and its value.
type fact struct {
	head, label, value string
	st                 theme.Style
	draw               func(l *draw.Line) // instead of value
}

// page collects facts.
type factList struct {
	t       *theme.Theme
	list    []fact
	missing string // what stands for figures that are not there
}

func (f *factList) head(s string) { f.list = append(f.list, fact{head: s}) }

func (f *factList) add(label, value string) {
	st := f.t.Text
	if value == unsupported {
		st = f.t.Dim
	}
	if value == "" && label != "" {
		value, st = "not known", f.t.Dim
	}
	value = strings.ReplaceAll(value, unsupported, f.missing)
	f.list = append(f.list, fact{label: label, value: value, st: st})
}

func (f *factList) bad(label, value string) {
	f.list = append(f.list, fact{label: label, value: value, st: f.t.Bad})
}

// drawFacts draws everything that is known of the thing, and its history below where there is room.
func (s *Top) drawFacts(p *draw.Page) {
	t := s.e.Theme
	s.drawInfo(p.Line(theme.Ground))
	f := &factList{t: t, missing: unsupported}
	if !s.own {
		f.missing = "not known"
	}
	switch i := s.find(s.of); {
	case s.of.kind == procItem:
		pr := s.process(s.of)
		if pr == nil {
			p.Line(theme.Ground).Space(1).Text(t.Dim, "This process is gone.")
			return
		}
		s.procFacts(f, pr)
	case i < 0:
		p.Line(theme.Ground).Space(1).Text(t.Dim, "This is not there any more.")
		return
	case s.of.kind == gpuItem:
		s.gpuFacts(f, &s.sample.GPUs[i])
	case s.of.kind == diskItem:
		s.diskFacts(f, &s.sample.Disks[i])
	default:
		s.hostFacts(f)
	}
	// As few columns as it takes, so that words need not be broken.
	h := p.Left()
	enough := h
	if h >= graphFrom-2 {
		enough = h - 13
	}
	var lines []string
	var begins, heads []bool // of each line: a fact begins with it, and that is a heading
	cols, w := 0, 0
	for {
		cols++
		w = (p.Width() - 2) / cols
		var pg draw.Page
		pg.Reset(t, min(w-2, 96), 1<<14)
		begins, heads = begins[:0], heads[:0]
		for _, x := range f.list {
			n := pg.Len()
			s.drawFact(&pg, x)
			for i := range pg.Len() - n {
				begins, heads = append(begins, i == 0), append(heads, x.head != "")
			}
		}
		lines = pg.Drawn()
		if len(lines) <= cols*enough || cols >= 4 || (p.Width()-2)/(cols+1) < 38 {
			break
		}
	}
	// As many lines in each column as it takes. One begins with a fact, and with a heading where one is near.
	per := (len(lines) + cols - 1) / cols
	var starts []int
	for c, at := 0, 0; c < cols && at < len(lines); c++ {
		starts = append(starts, at)
		if at += per; c == cols-1 || at >= len(lines) {
			break
		}
		for at > 0 && (!begins[at] || heads[at-1]) {
			at--
		}
		for back := at; back > at-per/3 && back > starts[c]; back-- {
			if heads[back] && (len(lines)-back+cols-c-2)/(cols-c-1) <= max(per+2, h) {
				at = back
				break
			}
		}
	}
	tall := 0
	for i, a := range starts {
		b := len(lines)
		if i+1 < len(starts) {
			b = starts[i+1]
		}
		tall = max(tall, b-a)
	}
	graphLines := 0
	about, charted := s.charted()
	if charted && h-tall >= 9 {
		graphLines = min(16, h-tall-1)
	}
	s.top = max(0, min(s.top, tall-(h-graphLines)))
	for y := s.top; y < tall && p.Left() > graphLines; y++ {
		row := " "
		for i, a := range starts {
			end := len(lines)
			if i+1 < len(starts) {
				end = starts[i+1]
			}
			if a+y < end && lines[a+y] != "" {
				row += strings.Repeat(" ", max(0, 1+i*w-ansi.StringWidth(row))) + lines[a+y]
			}
		}
		p.Add(row)
	}
	if graphLines > 0 {
		p.Fill(graphLines)
		s.drawPast(p, about, graphLines)
	}
}

const factLabel = 17

func (s *Top) drawFact(p *draw.Page, x fact) {
	t := s.e.Theme
	if x.head != "" {
		l := p.Line(theme.Ground).Text(t.Title, x.head).Space(1)
		l.Repeat(t.Rule, t.H, l.Room()-1)
		return
	}
	l := p.Line(theme.Ground).Text(t.Dim, x.label).To(factLabel)
	if x.draw != nil {
		x.draw(l)
		return
	}
	for i, v := range text.Wrap(plaintext.Clean(x.value), max(8, p.Width()-factLabel)) {
		if i > 0 {
			l = p.Line(theme.Ground).To(factLabel)
		}
		l.Text(s.grey(x.st), v)
	}
}

func (s *Top) bar(f *factList, label string, share float64, st theme.Style, words string) {
	f.list = append(f.list, fact{label: label, draw: func(l *draw.Line) {
		chart.Bar(l, f.t, max(4, min(20, l.Room()-text.Width(words)-1)), chart.Part{Share: share, Style: s.grey(st)})
		l.Space(1).Text(s.grey(f.t.Text), words)
	}})
}

func (s *Top) gpuFacts(f *factList, g *gpu.GPU) {
	t := f.t
	f.head(fmt.Sprintf("GPU %d", g.Index))
	f.add("name", g.Name)
	if g.Error != "" {
		f.bad("error", g.Error)
	}
	s.useFacts(f, "", &g.Use)
	if x := g.LastXID; x != nil {
		what := fmt.Sprintf("%d: %s", x.Code, x.Meaning)
		if !x.At.IsZero() {
			what += ", " + s.ago(x.At)
		}
		f.bad("last XID", what)
		if x.Application {
			f.add("blame", "a program, not the GPU")
		}
		if x.Advice != "" {
			f.add("what to do", x.Advice)
		}
	}
	if g.Error == "" {
		if g.Utilization != nil {
			s.bar(f, "utilisation", *g.Utilization/100, t.Good, money.Figure(g.Utilization, money.Percent))
		} else {
			f.add("utilisation", unsupported)
		}
		f.add("memory busy", said(money.Figure(g.MemoryUtilization, money.Percent)))
		if g.MemoryUsed != nil && g.MemoryTotal != nil {
			s.bar(f, "memory", chart.Share(g.MemoryUsed, g.MemoryTotal), t.Good, of(g.MemoryUsed, g.MemoryTotal))
		} else {
			f.add("memory", unsupported)
		}
		if g.Unified {
			f.add("", "unified: the host's")
		} else {
			f.add("reserved", said(bytesOf(g.MemoryReserved)))
		}
		f.head("Heat and power")
		f.add("temperature", said(money.Figure(g.Temperature, money.Celsius)))
		f.add("of its memory", said(money.Figure(g.MemoryTemperature, money.Celsius)))
		f.add("slows down at", said(money.Figure(g.SlowdownTemperature, money.Celsius)))
		f.add("fan", said(money.Figure(g.Fan, money.Percent)))
		if g.Power != nil && g.PowerLimit != nil {
			s.bar(f, "power", *g.Power / *g.PowerLimit, t.Good, money.FigureOf(g.Power, g.PowerLimit, money.Watt))
		} else {
			f.add("power", said(money.Figure(g.Power, money.Watt)))
			f.add("power limit", said(money.Figure(g.PowerLimit, money.Watt)))
		}
		f.add("energy", energy(g.Energy))
		f.head("Clocks")
		f.add("SM", clock(g.SMClock, g.MaxSMClock))
		f.add("memory", clock(g.MemoryClock, g.MaxMemoryClock))
		f.add("held back", throttle(g.Throttle))
		f.add("state", said(g.PerformanceState))
		f.add("encoder", said(money.Figure(g.Encoder, money.Percent)))
		f.add("decoder", said(money.Figure(g.Decoder, money.Percent)))
		f.head("Links")
		bus := unsupported
		if g.PCIeGeneration != nil && g.PCIeWidth != nil {
			bus = fmt.Sprintf("generation %d, %d lanes", *g.PCIeGeneration, *g.PCIeWidth)
		}
		if !g.Unified {
			f.add("PCIe", bus)
			f.add("PCIe in, out", said(rates(g.PCIeRx, g.PCIeTx)))
		}
		links := unsupported
		if g.NVLinks != nil {
			links = fmt.Sprintf("%d links up", *g.NVLinks)
		}
		f.add("NVLink", links)
		f.add("NVLink in, out", said(rates(g.NVLinkRx, g.NVLinkTx)))
		s.topology(f, g)
		f.head("Memory errors")
		if e := g.ECC; e == nil {
			f.add("ECC", "none, or switched off")
		} else {
			f.add("corrected", count(e.Corrected))
			s.errors(f, "uncorrected", e.Uncorrected)
			f.add("corrected ever", count(e.AggregateCorrected))
			s.errors(f, "uncorrected ever", e.AggregateUncorrected)
			f.add("rows remapped", count(e.RemappedCorrectable)+" corrected, "+count(e.RemappedUncorrected)+" not")
			f.add("reset needed", yes(e.RemapPending, "yes: remapped rows wait for it", "no"))
			if e.RemapFailed != nil && *e.RemapFailed {
				f.bad("replace it", "remapping has failed")
			}
		}
		f.head("Modes")
		f.add("persistence", yes(g.Persistence, "on", "off: the first call after a pause takes seconds"))
		f.add("compute mode", said(g.ComputeMode))
		f.add("MIG", yes(g.MIGEnabled, "on", "off"))
		for _, m := range g.MIG {
			share := chart.Share(m.MemoryUsed, m.MemoryTotal)
			s.bar(f, fmt.Sprintf("  %d %s", m.Index, m.Profile), share, t.Good,
				of(m.MemoryUsed, m.MemoryTotal)+fmt.Sprintf(", %d/%d", m.GPUInstance, m.ComputeInstance))
			s.useFacts(f, "  ", &m.Use)
		}
	}
	f.head("Identity")
	f.add("UUID", g.UUID)
	f.add("PCI", g.PCI)
	f.add("driver", said(s.sample.DriverVersion))
	cuda := unsupported
	if v := s.sample.CUDAVersion; v != "" {
		cuda = v + ", the newest that the driver supports"
	}
	f.add("CUDA", cuda)
	f.add("read by", said(s.sample.GPUSource))
	first := true
	for i := range s.sample.Processes {
		p := &s.sample.Processes[i]
		if p.GPUIndex == nil || *p.GPUIndex != g.Index {
			continue
		}
		if first {
			f.head("Processes on it")
			first = false
		}
		f.add(fmt.Sprintf("%d %s", p.PID, p.User), bytesOf(p.GPUMemory)+" "+p.Command)
	}
}

func (s *Top) errors(f *factList, label string, n *int64) {
	if n != nil && *n > 0 {
		f.bad(label, count(n))
		return
	}
	f.add(label, count(n))
}

// topology says how a GPU is connected to the others, those of one kind together.
func (s *Top) topology(f *factList, g *gpu.GPU) {
	kinds := map[string][]string{}
	var order []string
	for _, x := range s.sample.Topology {
		other := -1
		switch g.Index {
		case x.A:
			other = x.B
		case x.B:
			other = x.A
		}
		if other < 0 {
			continue
		}
		if kinds[x.Kind] == nil {
			order = append(order, x.Kind)
		}
		kinds[x.Kind] = append(kinds[x.Kind], itoa(other))
	}
	sort.Strings(order)
	for _, k := range order {
		f.add("by "+k, strings.Join(kinds[k], " ")+linkMeaning(k))
	}
}

// linkMeaning says what nvidia-smi's name of a connection means.
func linkMeaning(kind string) string {
	switch {
	case strings.HasPrefix(kind, "NV"):
		return " (NVLink)"
	case kind == "PIX":
		return " (one PCIe switch)"
	case kind == "PXB":
		return " (several PCIe switches)"
	case kind == "PHB":
		return " (through the processor's PCIe root)"
	case kind == "NODE":
		return " (within one NUMA node)"
	case kind == "SYS":
		return " (between NUMA nodes, the slowest)"
	}
	return ""
}

func (s *Top) hostFacts(f *factList) {
	t, v := f.t, s.sample
	f.head("CPU")
	if v.CPU != nil {
		s.bar(f, "in use", *v.CPU/100, chart.Heat(t, *v.CPU), money.Figure(v.CPU, money.Percent))
	}
	f.add("waiting for I/O", said(money.Figure(v.IOWait, money.Percent)))
	f.add("stolen", said(money.Figure(v.Steal, money.Percent)))
	f.add("load", said(money.Figure(v.Load1, ""))+" in 1 min, "+said(money.Figure(v.Load5, ""))+" in 5, "+
		said(money.Figure(v.Load15, ""))+" in 15")
	if p := v.Pressure; p != nil {
		f.add("pressure", fmt.Sprintf("some waited: CPU %.1f%%, memory %.1f%%, I/O %.1f%% of the last 10 s", p.CPU, p.Memory,
			p.IO))
	} else {
		f.add("pressure", unsupported)
	}
	f.add("up for", span(v.Uptime))
	if v.Container {
		f.add("limits", "those of a container, not of the machine")
	}
	const perLine = 2
	for i := 0; i < len(v.Cores); i += perLine {
		f.list = append(f.list, fact{label: fmt.Sprintf("cores %d-%d", i, min(i+perLine, len(v.Cores))-1),
			draw: func(l *draw.Line) {
				barRoom := l.Room()/perLine - 7
				for k := i; k < min(i+perLine, len(v.Cores)); k++ {
					c := v.Cores[k]
					chart.Bar(l, t, min(8, barRoom), chart.Part{Share: c / 100, Style: s.grey(chart.Heat(t, c))})
					l.Cell(s.grey(t.Text), money.Figure(&c, money.Percent), 5, true).Space(2)
				}
			}})
	}
	f.head("Memory")
	s.bar(f, "used", chart.Share(v.MemoryUsed, v.MemoryTotal), t.Good, of(v.MemoryUsed, v.MemoryTotal))
	f.add("cache", said(bytesOf(v.MemoryCache)))
	f.add("available", said(bytesOf(v.MemoryAvailable)))
	f.add("swap", said(of(v.SwapUsed, v.SwapTotal)))
	f.add("swapped in, out", said(rates(v.SwapIn, v.SwapOut)))
	f.head("Networks")
	for _, n := range v.Networks {
		f.add(n.Name, "in "+rateOf(n.Rx)+", out "+rateOf(n.Tx))
	}
	f.head("Block devices")
	for _, d := range v.Devices {
		f.add(d.Name, "read "+rateOf(d.Read)+", written "+rateOf(d.Write)+", "+said(money.Figure(d.Busy, "% busy")))
	}
}

func (s *Top) diskFacts(f *factList, d *gpu.Disk) {
	f.head(plaintext.Clean(d.Mount))
	f.add("device", said(d.Device))
	f.add("file system", said(d.Filesystem))
	f.add("mounted with", said(d.Options))
	if d.ReadOnly {
		f.bad("read-only", "nothing can be written")
	}
	if d.Network {
		f.add("share", "on another machine, for all instances")
	}
	if d.StaleSince != nil {
		f.bad("does not answer", "for "+s.e.Age(*d.StaleSince)+": its figures are older")
	}
	f.head("Space")
	if d.UsedPercent != nil {
		s.bar(f, "used", *d.UsedPercent/100, chart.Filling(f.t, d.UsedPercent, d.FullIn, f.t.Good),
			money.Figure(d.UsedPercent, money.Percent))
	}
	f.add("", said(of(d.Used, d.Total)))
	f.add("available", said(bytesOf(d.Available)))
	f.add("for root only", said(bytesOf(d.Reserved)))
	if d.InodesUsed != nil {
		s.bar(f, "inodes", *d.InodesUsed/100, chart.Heat(f.t, *d.InodesUsed), money.Figure(d.InodesUsed, "% used"))
	} else {
		f.add("inodes", "no fixed number")
	}
	growth := unsupported
	if d.Growth != nil {
		growth = size(*d.Growth) + "/s"
	}
	f.add("growth", growth)
	if d.FullIn != nil {
		f.bad("full in", span(*d.FullIn)+" if it goes on like this")
	} else {
		f.add("full in", "not in the next 30 days")
	}
}

func (s *Top) procFacts(f *factList, p *gpu.Process) {
	f.head("Process " + itoa(p.PID))
	f.add("command", p.Command)
	f.add("user", p.User)
	who := owner(p)
	if p.Owner.Kind == "" {
		who += ": Berth did not start it"
	}
	f.add("belongs to", who)
	f.add("state", said(p.State))
	if p.Note != "" {
		f.bad("note", p.Note)
	}
	f.add("parent", itoa(p.PPID))
	if !p.StartedAt.IsZero() {
		f.add("started", p.StartedAt.Local().Format(time.DateTime)+", "+s.ago(p.StartedAt))
	}
	f.head("What it uses")
	f.add("CPU", said(money.Figure(p.CPU, "% of one core")))
	f.add("memory", said(bytesOf(p.Memory)))
	f.add("threads", itoa(p.Threads))
	on := false
	for i := range s.sample.Processes {
		q := &s.sample.Processes[i]
		if q.PID != p.PID || q.GPUIndex == nil {
			continue
		}
		on = true
		what := said(bytesOf(q.GPUMemory)) + " of memory, SM " + said(money.Figure(q.SM, money.Percent))
		if q.GPUKind != "" {
			what += ", " + q.GPUKind
		}
		if q.MIG != nil {
			what += fmt.Sprintf(", MIG %d", *q.MIG)
		}
		f.add(fmt.Sprintf("GPU %d", *q.GPUIndex), what)
	}
	if !on {
		f.add("GPUs", "none")
	}
}
