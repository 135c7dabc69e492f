package top

import (
	"fmt"
	"slices"
	"strings"

	"berth/gpu"
	"berth/ui/data"
	"berth/ui/draw"
	"berth/ui/form"
	"berth/ui/list"
	"berth/ui/money"
	"berth/ui/theme"
)

// graphFrom is the height from which the overview has a graph of the thing under the cursor.
const graphFrom = 32

// Draw implements screen.Screen.
func (s *Top) Draw(p *draw.Page) {
	s.view = p.Height()
	s.Hit = nil
	s.graphed = s.sample != nil && s.page == graph
	t := s.e.Theme
	if s.sample == nil {
		p.Blank(min(1, max(0, p.Height()-2)))
		_, why := s.agent()
		switch {
		case s.err != nil:
			form.Error(p, t, s.err.Error(), "it is tried again; esc goes back")
		case why != "":
			p.Line(theme.Ground).Space(2).Text(t.Dim, "There are no figures: "+why+".")
		default:
			p.Line(theme.Ground).Space(2).Text(t.Dim, "Asking its agent"+t.Ellipsis)
		}
		return
	}
	switch s.page {
	case facts:
		s.drawFacts(p)
		return
	case graph:
		s.drawPast(p, s.of, p.Height())
		return
	}
	s.drawOverview(p)
}

// share divides the lines of the page between the sections and returns those of the graph.
func (s *Top) share(h int, heads bool) (graphLines int) {
	room := h - 1
	over := map[kind]int{gpuItem: 0, cpuItem: 0, diskItem: 0, procItem: 1}
	if heads {
		over = map[kind]int{gpuItem: 2, cpuItem: 1, diskItem: 2, procItem: 2}
	}
	want := func(x *section) int { return x.to - x.from }
	for i := range s.sections {
		x := &s.sections[i]
		room -= over[x.kind]
		least := 1
		switch x.kind {
		case cpuItem:
			least = 2
			if h >= 18 {
				least = 4
			}
		case diskItem:
			if h >= 20 {
				least = 2
			}
		case procItem:
			least = 3
		}
		x.view = min(want(x), least)
		room -= x.view
	}
	if h >= graphFrom {
		graphLines = min(16, h/4)
		room -= graphLines + 1
	}
	give := func(k kind, most int) {
		for i := range s.sections {
			x := &s.sections[i]
			if x.kind == k && room > 0 {
				n := min(room, min(most, want(x))-x.view)
				if n > 0 {
					x.view += n
					room -= n
				}
			}
		}
	}
	give(gpuItem, max(2, h*2/5))
	give(diskItem, h/8+1)
	give(procItem, h)
	give(gpuItem, h)
	give(diskItem, h)
	return graphLines
}

func (s *Top) drawOverview(p *draw.Page) {
	h := p.Height()
	heads := h >= graphFrom
	graphLines := s.share(h, heads)
	s.wide = map[string]int{}
	s.drawInfo(p.Line(theme.Ground))
	s.At = max(0, min(s.At, len(s.items)-1))
	s.View = max(1, h/2)
	var rows []int // the thing on each line
	other := func() { rows = append(rows, -1) }
	other()
	s.Hit = func(_, y int) int {
		if y < 0 || y >= len(rows) {
			return -1
		}
		return rows[y]
	}
	for i := range s.sections {
		x := &s.sections[i]
		if heads {
			p.Blank(1)
			other()
		}
		if x.kind == procItem || heads && x.kind != cpuItem {
			l := p.Line(theme.Ground).Space(1)
			l.Limit(list.Room(p.Width()))
			switch x.kind {
			case gpuItem:
				s.gpuHead(l)
			case diskItem:
				s.diskHead(l)
			case procItem:
				s.procHead(l)
			}
			other()
		}
		at := x.from + x.top // the section under the cursor follows it
		if s.At >= x.from && s.At < x.to {
			at = s.At
		}
		x.top = list.Scroll(x.top, at-x.from, x.view, x.to-x.from)
		s.tops[x.kind] = x.top
		for n := range x.view {
			at := x.from + x.top + n
			back := theme.Ground
			if at == s.At {
				back = theme.Sel
			}
			l := p.Line(back)
			rows = append(rows, at)
			if at == s.At {
				l.Glyph(s.e.Theme.Accent, s.e.Theme.Cursor)
			}
			l.Limit(list.Room(p.Width()))
			l.To(1)
			s.drawItem(l, s.items[at])
			l.Limit(p.Width())
			list.More(l, s.e.Theme, n, x.view, x.top > 0, x.top+x.view < x.to-x.from)
		}
	}
	if graphLines > 0 {
		if k, ok := s.charted(); ok {
			s.graphed = true
			p.Fill(graphLines)
			s.drawPast(p, k, graphLines)
		}
	}
}

func (s *Top) drawItem(l *draw.Line, k item) {
	switch k.kind {
	case gpuItem:
		s.gpuRow(l, &s.sample.GPUs[k.index])
	case cpuItem:
		s.cpuRow(l)
	case memItem:
		s.memRow(l)
	case netItem:
		s.netRow(l)
	case devItem:
		s.devRow(l)
	case diskItem:
		s.diskRow(l, &s.sample.Disks[k.index])
	case procItem:
		s.procRow(l, &s.sample.Processes[k.index], k.depth)
	}
}

// drawInfo says what the instance has, or in words why its figures are not those of now.
func (s *Top) drawInfo(l *draw.Line) {
	t := s.e.Theme
	v := s.sample
	l.Space(1)
	if old := s.old(); old != "" {
		l.Text(t.Warn, old)
		return
	}
	switch {
	case v.GPUsStaleSince != nil:
		l.Text(t.Warn, "GPU figures of "+s.ago(*v.GPUsStaleSince)+": "+v.GPUError)
		return
	case v.GPUError != "" && len(v.GPUs) == 0:
		l.Text(t.Text, "no GPUs: "+v.GPUError)
		return
	case v.GPUError != "":
		l.Text(t.Warn, v.GPUError)
		return
	}
	var parts []string
	if n := len(v.GPUs); n > 0 {
		name := fmt.Sprintf("%dx %s", n, money.Short(v.GPUs[0].Name))
		for i := range v.GPUs {
			if v.GPUs[i].Name != "" && v.GPUs[i].Name != v.GPUs[0].Name {
				name = fmt.Sprintf("%d GPUs", n)
			}
		}
		parts = append(parts, name)
	} else {
		parts = append(parts, "no GPUs")
	}
	if w := power(v.GPUs); w != nil {
		parts = append(parts, money.Figure(w, money.Watt))
	}
	if v.DriverVersion != "" {
		parts = append(parts, "driver "+v.DriverVersion)
	}
	if v.CUDAVersion != "" {
		parts = append(parts, "CUDA "+v.CUDAVersion)
	}
	if v.GPUSource != "" {
		parts = append(parts, "by "+v.GPUSource)
	}
	if v.Uptime > 0 {
		parts = append(parts, "up "+span(v.Uptime))
	}
	if v.Container {
		parts = append(parts, "in a container: its limits")
	}
	l.Text(t.Dim, strings.Join(parts, " "+t.Dot+" "))
}

// grey is a look, or the grey of what is not that of now.
func (s *Top) grey(st theme.Style) theme.Style {
	if s.old() != "" {
		return s.e.Theme.Dim
	}
	return st
}

// Status implements screen.Stater.
func (s *Top) Status(l *draw.Line) {
	t := s.e.Theme
	if s.Line(l, t) {
		return
	}
	if s.sample == nil {
		return
	}
	worst := slices.Clone(s.sample.Attention)
	slices.SortStableFunc(worst, func(a, b gpu.Finding) int { return data.Rank(b.Severity) - data.Rank(a.Severity) })
	for _, f := range worst {
		g, st := t.Severity(data.Rank(f.Severity))
		if l.Room() > len(f.Subject)+12 {
			l.Glyph(st, g).Space(1).Text(t.Text, f.Subject+": "+f.Text).Space(2)
		}
	}
	if v := s.Words(); v != "" {
		l.End(t.Accent, "filter "+v)
	}
}

// power is what the GPUs draw together, in watts; nil where none tells.
func power(gpus []gpu.GPU) *float64 {
	var sum *float64
	for i := range gpus {
		if p := gpus[i].Power; p != nil {
			if sum == nil {
				sum = new(float64)
			}
			*sum += *p
		}
	}
	return sum
}
