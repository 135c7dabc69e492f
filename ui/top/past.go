package top

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/gpu"
	"berth/ui/chart"
	"berth/ui/draw"
	"berth/ui/money"
	"berth/ui/text"
	"berth/ui/theme"
)

// ranges are how far back a graph goes.
var ranges = []struct {
	name  string
	span  time.Duration
	again time.Duration // when it is asked for anew
}{
	{"15 min", 15 * time.Minute, 15 * time.Minute}, // live samples are added to it
	{"6 h", 6 * time.Hour, 30 * time.Second},
	{"30 d", 30 * 24 * time.Hour, 5 * time.Minute},
}

// points is how many points are asked for: a second each of 15 minutes.
const points = 1000

// past is the history that is shown: one metric of one thing over one range.
type past struct {
	span   int // in ranges
	which  [kinds]int
	noBus  bool // no GPU hangs on a PCIe bus
	cursor int  // cells from the right end; negative: none

	of     item
	metric string
	spanOf int
	points []gpu.Point
	step   time.Duration
	live   int // samples that were added to the last point
	loaded bool
	asking bool
	at     time.Time // when it was asked for
	err    error
	graph  chart.Graph
}

type pastMsg struct {
	of     *Top
	item   item
	metric string
	span   int
	series []gpu.Series
	err    error
}

// hasBus reports whether some GPU of a sample hangs on a PCIe bus: one that shares the host's memory does not.
func hasBus(v *gpu.Sample) bool {
	return len(v.GPUs) == 0 || slices.ContainsFunc(v.GPUs, func(g gpu.GPU) bool { return !g.Unified })
}

func (p *past) init() { p.cursor = -1 }

// metric is what is drawn of a kind of thing, or nil.
func (p *past) metricOf(k kind) *metric {
	ms := metrics[k]
	if p.noBus {
		ms = slices.DeleteFunc(slices.Clone(ms), func(m metric) bool { return strings.HasPrefix(m.name, "gpu_pcie_") })
	}
	if len(ms) == 0 {
		return nil
	}
	return &ms[p.which[k]%len(ms)]
}

// fetch asks for the history of the thing that is shown, unless it is there.
func (s *Top) fetch() tea.Cmd {
	k, ok := s.charted()
	if !ok {
		return nil
	}
	p := &s.past
	m := p.metricOf(k.kind)
	if m == nil || s.page == overview && s.view < graphFrom {
		return nil
	}
	now := s.e.Now()
	same := p.of.same(k) && p.metric == m.name && p.spanOf == p.span
	if same && (p.asking || now.Sub(p.at) < ranges[p.span].again) {
		return nil
	}
	if !same {
		p.points, p.loaded, p.err = nil, false, nil
	}
	p.of, p.metric, p.spanOf, p.at = k, m.name, p.span, now
	a, why := s.agent()
	if a == nil {
		p.err = fmt.Errorf("its history is kept on the instance: %s", why)
		return nil
	}
	if nameless(k) {
		p.at = time.Time{} // its name is not known before the agent has told it
		if s.own {
			p.err = errors.New("the driver does not say any more which GPU this is")
		}
		return nil
	}
	p.asking = true
	o := api.HistoryOptions{Metrics: []string{m.name}, Subject: k.subject, Since: now.Add(-ranges[p.span].span),
		Points: points}
	span := p.span
	return func() tea.Msg {
		v, err := a.History(s.ctx, o)
		return pastMsg{s, k, m.name, span, v, err}
	}
}

// charted is the thing whose history is shown: the one under the cursor; of a process the GPU that it is on, or
// the host's CPU.
func (s *Top) charted() (item, bool) {
	k, ok := s.current()
	if !ok || k.kind != procItem {
		return k, ok
	}
	p := s.process(k)
	for _, x := range s.items {
		switch {
		case p == nil:
		case x.kind == gpuItem && p.GPUIndex != nil && s.sample.GPUs[x.index].Index == *p.GPUIndex, x.kind == cpuItem &&
			p.GPUIndex == nil:
			return x, true
		}
	}
	return k, false
}

// take takes what was asked for.
func (p *past) take(m pastMsg) {
	if !p.of.same(m.item) || p.metric != m.metric || p.spanOf != m.span {
		return
	}
	p.asking, p.err = false, m.err
	if m.err != nil {
		return
	}
	p.points, p.loaded = nil, true
	for _, s := range m.series {
		if s.Metric == m.metric && (s.Subject == m.item.subject || len(m.series) == 1) {
			p.points, p.step = s.Points, time.Duration(s.Step*float64(time.Second))
		}
	}
}

// add adds what is measured now to a graph that shows seconds.
func (p *past) add(v *gpu.Sample) {
	m := p.metricOf(p.of.kind)
	if p.spanOf != 0 || !p.loaded || m == nil || m.name != p.metric {
		return
	}
	x := m.now(v, p.of)
	if n := len(p.points); x == nil || n > 0 && v.SampledAt.Before(p.points[n-1].At) {
		return
	}
	if p.step <= 0 {
		p.step = time.Second
	}
	// A step that is still going on takes it in.
	if n := len(p.points); n > 0 && p.points[n-1].At.Add(p.step).After(v.SampledAt) {
		last := &p.points[n-1]
		p.live++
		last.Mean += (*x - last.Mean) / float64(p.live+1)
		last.Max = max(last.Max, *x)
		return
	}
	p.live = 0
	p.points = append(p.points, gpu.Point{At: v.SampledAt, Mean: *x, Max: *x})
	if n := len(p.points) - 4*points; n > points {
		p.points = append([]gpu.Point(nil), p.points[n:]...)
	}
}

// drawPast draws the graph of the thing that is shown in h lines: a title, and the graph.
func (s *Top) drawPast(p *draw.Page, k item, h int) {
	t := s.e.Theme
	m := s.past.metricOf(k.kind)
	if h < 3 || m == nil {
		return
	}
	end := s.e.Clock()
	if s.sample != nil && s.own && s.sample.SampledAt.After(end) {
		end = s.sample.SampledAt
	}
	ready := s.past.of.same(k) && s.past.metric == m.name && s.past.spanOf == s.past.span && s.past.loaded
	g := &s.past.graph
	*g = chart.Graph{From: end.Add(-ranges[s.past.span].span), To: end, Max: m.top, Bytes: m.unit == "bytes" ||
		m.unit == "bytes/s", Label: m.label, Style: m.style(t), Cursor: -1}
	if ready {
		g.Points, g.Step = s.past.points, s.past.step
	}
	if g.Max == 0 {
		g.Max = s.limit(k, m)
	}
	g.Lay(t, p.Width()-2, h-1)
	if s.past.cursor >= 0 {
		s.past.cursor = min(s.past.cursor, max(0, g.Cells()-1))
		g.Cursor = g.Cells() - 1 - s.past.cursor
	}
	l := p.Line(theme.Ground).Space(1)
	l.Text(t.Title, text.Truncate(plaintext.Clean(m.titleOf(k)), max(8, p.Width()/3), t.Ellipsis)).Space(2)
	for i, r := range ranges {
		st := t.Dim
		if i == s.past.span {
			st = t.Key
		}
		name := fmt.Sprintf("%d %s", i+1, r.name)
		if i == s.past.span {
			name = "[" + name + "]"
		}
		l.Text(st, name).Space(1)
	}
	l.Space(1)
	switch {
	case s.past.err != nil:
		l.Text(t.Warn, s.past.err.Error())
	case !ready:
		l.Text(t.Dim, "asking for its history"+t.Ellipsis)
	case g.Cursor >= 0:
		s.reading(l, m, g.Read(g.Cursor))
	case len(s.past.points) == 0:
		l.Text(t.Dim, "nothing was measured in this time")
	default:
		area, line := "⣿", "⠒"
		if t.ASCII {
			area, line = "#", "'"
		}
		l.Glyph(t.Accent, area).Text(t.Dim, " mean  ").Glyph(t.Dim, line).Text(t.Dim, " max")
		if i := len(metrics[k.kind]); i > 1 && l.Room() > 20 {
			l.Text(t.Dim, "  v another metric")
		}
	}
	for i := range g.Rows() {
		g.Row(p.Line(theme.Ground).Space(1), i)
	}
}

// reading writes what the cursor stands on.
func (s *Top) reading(l *draw.Line, m *metric, r chart.Reading) {
	t := s.e.Theme
	format := "15:04:05"
	if s.past.span == 2 {
		format = "Jan 2 15:04"
	}
	l.Text(t.Bold, r.At.Local().Format(format)).Space(2)
	if !r.OK {
		l.Text(t.Dim, "not measured")
		return
	}
	l.Text(t.Text, "mean "+m.label(r.Mean)).Text(t.Text, "  max "+m.label(r.Max))
}

// limit is the end of an axis that a thing itself sets: its memory, its power; 0: none.
func (s *Top) limit(k item, m *metric) float64 {
	v := s.sample
	if v == nil {
		return 0
	}
	pick := func(f *float64) float64 {
		if f == nil {
			return 0
		}
		return *f
	}
	switch m.name {
	case "memory_used_bytes":
		return pick(float(v.MemoryTotal))
	case "swap_used_bytes":
		return pick(float(v.SwapTotal))
	}
	i := s.find(k)
	switch {
	case i < 0:
	case k.kind == gpuItem && i < len(v.GPUs):
		g := &v.GPUs[i]
		switch m.unit {
		case "bytes":
			return pick(float(g.MemoryTotal))
		case money.Watt:
			return pick(g.PowerLimit)
		case money.MHz:
			return pick(g.MaxSMClock)
		case money.Celsius:
			return 100
		}
	case k.kind == diskItem && i < len(v.Disks) && m.unit == "bytes":
		return pick(float(v.Disks[i].Total))
	}
	return 0
}
