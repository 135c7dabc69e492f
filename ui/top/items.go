package top

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"berth/gpu"
	"berth/ui/data"
)

// kind is what a line of the screen is about.
type kind int

const (
	gpuItem kind = iota
	cpuItem
	memItem
	netItem
	devItem
	diskItem
	procItem
	kinds
)

// item is one thing that the cursor can stand on.
type item struct {
	kind    kind
	index   int    // in the sample's list
	subject string // its name there; what the history is asked for
	depth   int    // of a process in the tree
}

func (k item) same(o item) bool { return k.kind == o.kind && k.subject == o.subject }

// id tells a thing from the others of the screen: a GPU by its place, since a lost one may have no name.
func (k item) id() string {
	if k.kind == gpuItem {
		return "gpu " + strconv.Itoa(k.index)
	}
	return strconv.Itoa(int(k.kind)) + " " + k.subject
}

// section is a run of items of the same sort.
type section struct {
	from, to  int // in items
	top, view int // what is shown of it: filled in by the layout
	kind      kind
}

// order of the processes.
type sorting struct {
	name string
	less func(a, b *gpu.Process) int
}

func desc[T int64 | float64](get func(p *gpu.Process) *T) func(a, b *gpu.Process) int {
	return func(a, b *gpu.Process) int {
		return data.UnknownLast(get(a), get(b), func(x, y T) int { return cmp.Compare(y, x) })
	}
}

var sortings = []sorting{
	{"gpu memory", desc(func(p *gpu.Process) *int64 { return p.GPUMemory })},
	{"sm", desc(func(p *gpu.Process) *float64 { return p.SM })},
	{"cpu", desc(func(p *gpu.Process) *float64 { return p.CPU })},
	{"memory", desc(func(p *gpu.Process) *int64 { return p.Memory })},
	{"gpu", func(a, b *gpu.Process) int { return cmp.Compare(gpuOf(a), gpuOf(b)) }},
	{"age", func(a, b *gpu.Process) int { return a.StartedAt.Compare(b.StartedAt) }},
	{"user", func(a, b *gpu.Process) int { return strings.Compare(a.User, b.User) }},
	{"pid", func(a, b *gpu.Process) int { return cmp.Compare(a.PID, b.PID) }},
	{"command", func(a, b *gpu.Process) int { return strings.Compare(a.Command, b.Command) }},
}

var sortNames = func() (out []string) {
	for _, x := range sortings {
		out = append(out, x.name)
	}
	return out
}()

func gpuOf(p *gpu.Process) int {
	if p.GPUIndex == nil {
		return 1 << 30
	}
	return *p.GPUIndex
}

// procKey tells a process, on one of its GPUs, from all others.
func procKey(p *gpu.Process) string {
	s := strconv.Itoa(p.PID)
	if p.GPUIndex != nil {
		s += "@" + strconv.Itoa(*p.GPUIndex)
	}
	if p.MIG != nil {
		s += "/" + strconv.Itoa(*p.MIG)
	}
	return s
}

// build lists the things of a sample in the order of the screen.
func (s *Top) build() {
	s.items, s.sections = s.items[:0], s.sections[:0]
	v := s.sample
	if v == nil {
		return
	}
	section1 := func(k kind, add func()) {
		from := len(s.items)
		add()
		if len(s.items) > from {
			s.sections = append(s.sections, section{from: from, to: len(s.items), kind: k, top: s.tops[k]})
		}
	}
	section1(gpuItem, func() {
		for i := range v.GPUs {
			s.items = append(s.items, item{kind: gpuItem, index: i, subject: gpuName(&v.GPUs[i])})
		}
	})
	section1(cpuItem, func() {
		if v.CPU != nil || len(v.Cores) > 0 {
			s.items = append(s.items, item{kind: cpuItem})
		}
		if v.MemoryTotal != nil {
			s.items = append(s.items, item{kind: memItem})
		}
		if i := busiest(len(v.Networks), func(i int) float64 { return sum(v.Networks[i].Rx, v.Networks[i].Tx) }); i >= 0 {
			s.items = append(s.items, item{kind: netItem, index: i, subject: v.Networks[i].Name})
		}
		if i := busiest(len(v.Devices), func(i int) float64 { return sum(v.Devices[i].Read, v.Devices[i].Write) }); i >= 0 {
			s.items = append(s.items, item{kind: devItem, index: i, subject: v.Devices[i].Name})
		}
	})
	section1(diskItem, func() {
		for _, i := range worstFirst(v.Disks) {
			s.items = append(s.items, item{kind: diskItem, index: i, subject: v.Disks[i].Mount})
		}
	})
	section1(procItem, func() { s.processes(v.Processes) })
	if s.first > 0 {
		s.At, s.first = s.first, 0
	}
}

// gpuName is what tells a GPU from the others: its UUID, or its place where the driver does not say it any more.
func gpuName(g *gpu.GPU) string {
	if g.UUID == "" {
		return "#" + strconv.Itoa(g.Index)
	}
	return g.UUID
}

// nameless reports whether a GPU is known by its place only.
func nameless(k item) bool { return k.kind == gpuItem && strings.HasPrefix(k.subject, "#") }

// busiest is the one of n that moves most; the first where nothing moves.
func busiest(n int, f func(int) float64) int {
	best := -1
	for i := range n {
		if best < 0 || f(i) > f(best) {
			best = i
		}
	}
	return best
}

func sum(a, b *int64) float64 {
	v := 0.0
	if a != nil {
		v += float64(*a)
	}
	if b != nil {
		v += float64(*b)
	}
	return v
}

// worstFirst orders disks: what is soonest full, then what is fullest; shares last.
func worstFirst(disks []gpu.Disk) []int {
	out := make([]int, len(disks))
	for i := range out {
		out[i] = i
	}
	rank := func(d *gpu.Disk) float64 {
		r := 0.0
		if d.UsedPercent != nil {
			r = *d.UsedPercent
		}
		if d.InodesUsed != nil {
			r = max(r, *d.InodesUsed)
		}
		if d.FullIn != nil && *d.FullIn < 48*3600 {
			r += 200
		}
		if d.Network {
			r -= 1000
		}
		return r
	}
	slices.SortStableFunc(out, func(a, b int) int { return cmp.Compare(rank(&disks[b]), rank(&disks[a])) })
	return out
}

// processes adds those that pass the filter, sorted, or as a tree.
func (s *Top) processes(list []gpu.Process) {
	match := gpu.ProcessFilter(s.Words())
	idx := make([]int, 0, len(list))
	for i := range list {
		p := &list[i]
		if match == nil || match(p) {
			idx = append(idx, i)
		}
	}
	by, byCPU, byMemory := sortings[slices.Index(sortNames, s.Sort)], sortings[2].less, sortings[3].less
	slices.SortStableFunc(idx, func(a, b int) int {
		c := by.less(&list[a], &list[b])
		if s.Down {
			c = -c
		}
		return cmp.Or(c, byCPU(&list[a], &list[b]), byMemory(&list[a], &list[b]), cmp.Compare(list[a].PID, list[b].PID))
	})
	add := func(i, depth int) {
		s.items = append(s.items, item{kind: procItem, index: i, subject: procKey(&list[i]), depth: depth})
	}
	if !s.tree {
		for _, i := range idx {
			add(i, 0)
		}
		return
	}
	here := map[int]bool{}
	for _, i := range idx {
		here[list[i].PID] = true
	}
	children := map[int][]int{}
	var roots []int
	for _, i := range idx {
		p := &list[i]
		if p.PPID != p.PID && here[p.PPID] {
			children[p.PPID] = append(children[p.PPID], i)
		} else {
			roots = append(roots, i)
		}
	}
	done := map[int]bool{} // rows that stand
	open := map[int]bool{} // processes whose children stand: one may have several rows
	var walk func(i, depth int)
	walk = func(i, depth int) {
		if done[i] {
			return
		}
		done[i] = true
		add(i, depth)
		pid := list[i].PID
		if open[pid] {
			return
		}
		open[pid] = true
		for _, c := range children[pid] {
			walk(c, depth+1)
		}
	}
	for _, i := range roots {
		walk(i, 0)
	}
	for _, i := range idx { // parents in a ring: nothing is lost
		walk(i, 0)
	}
}

// fromSummary is what is left of a sample where only the fleet's figures are known.
func fromSummary(f *data.Figures) *gpu.Sample {
	v := &gpu.Sample{SampledAt: f.At, GPUError: f.GPUError, Attention: f.Summary.Attention}
	for _, g := range f.GPUs {
		x := gpu.GPU{Index: g.Index, UUID: "#" + strconv.Itoa(g.Index), Name: g.Name, Error: g.Error,
			Utilization: g.Utilization, MemoryUsed: g.MemoryUsed, MemoryTotal: g.MemoryTotal, Unified: g.Unified,
			Temperature: g.Temperature,
			Power:       g.Power, PowerLimit: g.PowerLimit}
		if g.XID != 0 {
			x.LastXID = &gpu.XID{Code: g.XID}
		}
		v.GPUs = append(v.GPUs, x)
	}
	v.CPU, v.MemoryUsed, v.MemoryTotal = f.CPU, f.MemoryUsed, f.Memory
	if f.Disk != "" {
		d := gpu.Disk{Mount: f.Disk, UsedPercent: f.DiskPercent, FullIn: f.DiskFullIn, Available: f.DiskAvailable}
		if f.DiskInodes {
			d.UsedPercent, d.InodesUsed = nil, f.DiskPercent
		}
		v.Disks = []gpu.Disk{d}
	}
	return v
}
