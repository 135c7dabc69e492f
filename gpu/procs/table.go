package procs

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"berth/gpu"
	"berth/gpu/host/procfile"
	"berth/gpu/procs/proc"
)

// Options say what is watched; the zero value watches this host.
type Options struct {
	Proc string // where the processes are found; "": proc.Root
	// Attributor says whose a process is; nil: only containers are known.
	Attributor Attributor
	// Keep gives processes that are always shown, with all below them; nil: none. It must not block.
	Keep func() []int
	// Top is how many processes are shown apart from those and from those on GPUs; 0: 40.
	Top     int
	Now     func() time.Time
	Elapsed func() time.Duration // a clock that is never set
	// Foreign says that this process lives in a PID name space of its own, so that the driver's PIDs are not
	// those of Proc; nil: look.
	Foreign *bool
	// User names a user; it may block. "": its number is shown. nil: the system's data base.
	User func(uid int) string
}

// Table knows the processes. It belongs to one goroutine.
type Table struct {
	o     Options
	src   source
	byPID map[int]*entry
	shown []*entry
	round uint64
	at    time.Duration // of the last Scan
	users users

	wall    time.Time // when starts were told, and the same moment on the other clock
	wallAt  time.Duration
	lastAll time.Duration
	scanned bool
	cost    time.Duration // of looking at all, in time of the processor
	loading chan struct{}
}

// source reads processes of one system.
type source interface {
	All(each func(proc.Stat)) error
	One(pid int) (proc.Stat, error)
	// details may block for ever.
	details(pid int) details
}

// details is what seldom changes of a process.
type details struct {
	uid       int // -1: unknown
	command   string
	cgroup    string
	container procfile.Container
	environ   []string
	usesGPU   bool // it has a GPU's device open; only looked at where PIDs are foreign
}

// entry is one process.
type entry struct {
	pid, ppid int
	start     uint64
	startedAt time.Time
	comm      string
	state     byte
	kernel    bool
	kept      bool // it was at or below one of Keep's
	threads   int
	memory    int64
	cpu       time.Duration
	cpuAt     time.Duration
	share     float64 // percent of a core
	hasShare  bool
	round     uint64

	details   details
	hasOnce   bool
	loading   chan details
	detailsAt time.Duration
	owner     gpu.Owner
	owned     bool
	asked     int // how often, since its details were read
}

const (
	defaultTop = 40
	// What looking at all processes may cost of one core, while somebody watches and otherwise.
	watchedBudget   = 0.004
	unwatchedBudget = 0.0004
	longestPause    = 2 * time.Minute
	detailsAgain    = 30 * time.Second
	// detailsPatience is how long a sample waits for arguments; they take microseconds, or for ever.
	detailsPatience = 50 * time.Millisecond
	// searchPatience is how long a search waits for the arguments of all processes.
	searchPatience = 2 * time.Second
	maxLoading     = 64
	maxAncestors   = 256
	// askOwner is how often it is asked whose a process is, each time its details were read: a terminal's record may be
	// written a moment after its shell started.
	askOwner      = 3
	shortestShare = 200 * time.Millisecond // a share of less is noise
)

// New makes a Table. The first Scan has no CPU shares.
func New(o Options) *Table {
	if o.Top == 0 {
		o.Top = defaultTop
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Elapsed == nil {
		start := time.Now()
		o.Elapsed = func() time.Duration { return time.Since(start) }
	}
	if o.Foreign == nil {
		o.Foreign = new(bool)
		*o.Foreign = proc.Foreign(o.Proc)
	}
	t := &Table{o: o, src: newSource(o), byPID: map[int]*entry{}, loading: make(chan struct{}, maxLoading)}
	t.users.init(o.User)
	return t
}

// Scan looks at the processes and returns those that are shown: each that onGPU names, once for each GPU, then
// those below Keep's and those that use most of the processors and of the memory. count is how many the host has.
// While nobody watches it costs less.
func (t *Table) Scan(
	ctx context.Context, onGPU []gpu.GPUProcess, watched bool,
) (list []gpu.Process, count int, err error) {
	now := t.o.Elapsed()
	t.at = now
	t.round++
	t.followClock(now)
	if t.due(now, watched) {
		cpu := threadTime()
		err = t.scanAll(now)
		t.cost = threadTime() - cpu
		threadDone()
		t.choose()
	} else {
		for _, e := range t.shown {
			t.refresh(e.pid, now)
		}
	}
	show := make([]*entry, 0, len(t.shown)+len(onGPU))
	for _, e := range t.shown {
		if t.byPID[e.pid] == e {
			show = append(show, e)
		}
	}
	gpus := map[*entry]bool{}
	for _, p := range onGPU {
		e := t.byPID[p.PID]
		if e == nil || e.round != t.round {
			e = t.refresh(p.PID, now)
		}
		if e != nil && !gpus[e] {
			gpus[e] = true
			show = append(show, e)
		}
	}
	t.load(ctx, show, now, detailsPatience)
	list = make([]gpu.Process, 0, len(show)+len(onGPU))
	for _, p := range onGPU {
		list = append(list, t.joined(p))
	}
	slices.SortStableFunc(list, func(a, b gpu.Process) int {
		return cmp.Or(*a.GPUIndex-*b.GPUIndex, cmp.Compare(value(b.GPUMemory), value(a.GPUMemory)), a.PID-b.PID)
	})
	for _, e := range show {
		if !gpus[e] {
			list = append(list, t.process(e))
		}
	}
	return list, len(t.byPID), err
}

// Search says which processes are wanted beside those that are shown.
type Search struct {
	PIDs  []int
	Match func(*gpu.Process) bool // nil: only those of PIDs
}

// Find returns each process that q asks for, shown by the last Scan or not, in the order of their PIDs; GPUs are
// not said. With Match it looks at all processes, whatever that costs.
func (t *Table) Find(ctx context.Context, q Search) ([]gpu.Process, error) {
	var list []*entry
	var err error
	if q.Match != nil {
		if t.lastAll != t.at || !t.scanned {
			err = t.scanAll(t.at)
		}
		list = slices.Collect(maps.Values(t.byPID))
	} else {
		for _, pid := range q.PIDs {
			if e := t.refresh(pid, t.at); e != nil {
				list = append(list, e)
				t.knowParents(e)
			}
		}
	}
	slices.SortFunc(list, func(a, b *entry) int { return a.pid - b.pid })
	list = slices.Compact(list)
	ctx, cancel := context.WithTimeout(ctx, searchPatience)
	defer cancel()
	for part := range slices.Chunk(list, maxLoading) {
		t.load(ctx, part, t.at, searchPatience)
	}
	var out []gpu.Process
	for _, e := range list {
		if p := t.process(e); slices.Contains(q.PIDs, p.PID) || q.Match != nil && q.Match(&p) {
			out = append(out, p)
		}
	}
	return out, err
}

// knowParents reads the ancestors of a process that no look at all has seen yet: by them it is known whose it is.
func (t *Table) knowParents(e *entry) {
	for range maxAncestors {
		if e.ppid <= 0 || t.byPID[e.ppid] != nil {
			return
		}
		if e = t.refresh(e.ppid, t.at); e == nil {
			return
		}
	}
}

// User names a user; one whose name is not known yet is its number.
func (t *Table) User(uid int) string { return t.users.name(uid) }

// followClock tells all starts anew when the wall clock was set, so that Signal, which asks by it, agrees.
func (t *Table) followClock(now time.Duration) {
	wall := t.o.Now()
	shift := wall.Round(0).Sub(t.wall.Round(0)) - (now - t.wallAt)
	if !t.wall.IsZero() && shift.Abs() > time.Second/2 {
		for _, e := range t.byPID {
			e.startedAt = wall.Add(-ago(e.start)).Round(0)
		}
	}
	if t.wall.IsZero() || shift.Abs() > time.Second/2 {
		t.wall, t.wallAt = wall, now
	}
}

func (t *Table) due(now time.Duration, watched bool) bool {
	if !t.scanned {
		return true
	}
	budget := unwatchedBudget
	if watched {
		budget = watchedBudget
	}
	pause := min(time.Duration(float64(t.cost)/budget), longestPause)
	return now-t.lastAll >= pause*9/10 // a tick that comes a little early counts
}

// scanAll looks at every process, and forgets those that are gone.
func (t *Table) scanAll(now time.Duration) error {
	if err := t.src.All(func(s proc.Stat) { t.update(s, now) }); err != nil {
		return err
	}
	for pid, e := range t.byPID {
		if e.round != t.round {
			delete(t.byPID, pid)
		}
	}
	t.scanned, t.lastAll = true, now
	return nil
}

func (t *Table) refresh(pid int, now time.Duration) *entry {
	s, err := t.src.One(pid)
	if err != nil {
		delete(t.byPID, pid)
		return nil
	}
	return t.update(s, now)
}

func (t *Table) update(s proc.Stat, now time.Duration) *entry {
	e := t.byPID[s.PID]
	if e == nil || e.start != s.Start {
		age := ago(s.Start)
		e = &entry{pid: s.PID, start: s.Start, startedAt: t.o.Now().Add(-age).Round(0), cpuAt: now, cpu: s.CPU}
		// One that started since the last look has used all of its time since then.
		if t.scanned && age > shortestShare && age <= now-t.lastAll {
			e.share, e.hasShare = percent(s.CPU, age), true
		}
		t.byPID[s.PID] = e
	} else if passed := now - e.cpuAt; passed >= shortestShare {
		e.share, e.hasShare = percent(max(s.CPU-e.cpu, 0), passed), true
		e.cpu, e.cpuAt = s.CPU, now
	}
	if e.comm != string(s.Comm) {
		e.comm = string(s.Comm)
		e.detailsAt = 0 // it became another program
		e.hasOnce = e.hasOnce && e.kernel
	}
	e.ppid, e.state, e.kernel, e.threads, e.memory, e.round = s.PPID, s.State, s.Kernel, s.Threads, s.Memory, t.round
	return e
}

// ago is how long ago a process of that start began.
func ago(start uint64) time.Duration {
	age, _ := proc.Age(start)
	return age
}

func percent(cpu, passed time.Duration) float64 { return 100 * float64(cpu) / float64(passed) }

// choose finds those that use most, half of them by CPU, the rest by memory, and adds those that are always shown.
func (t *Table) choose() {
	all := make([]*entry, 0, len(t.byPID))
	for _, e := range t.byPID {
		if !e.kernel || e.share >= 1 {
			all = append(all, e)
		}
	}
	byCPU := func(a, b *entry) int {
		return cmp.Or(cmp.Compare(b.share, a.share), cmp.Compare(b.memory, a.memory), a.pid-b.pid)
	}
	byMemory := func(a, b *entry) int { return cmp.Or(cmp.Compare(b.memory, a.memory), a.pid-b.pid) }
	chosen := map[*entry]bool{}
	for _, e := range top(all, (t.o.Top+1)/2, byCPU) {
		if e.share > 0 {
			chosen[e] = true
		}
	}
	for _, e := range top(all, t.o.Top, byMemory) {
		if len(chosen) < t.o.Top && !e.kernel {
			chosen[e] = true
		}
	}
	for e := range t.kept() {
		chosen[e] = true
	}
	t.shown = t.shown[:0]
	for e := range chosen {
		t.shown = append(t.shown, e)
	}
	slices.SortFunc(t.shown, byCPU)
}

// kept are the processes that are always shown: those at and below Keep's, and what was seen there before it left
// for another parent.
func (t *Table) kept() map[*entry]bool {
	in := map[*entry]bool{}
	if t.o.Keep == nil {
		return in
	}
	for _, pid := range t.o.Keep() {
		if e := t.byPID[pid]; e != nil {
			in[e] = true
		}
	}
	var way []*entry
	for _, e := range t.byPID {
		way = way[:0]
		keep := false
		for p := e; p != nil && !keep && len(way) < maxAncestors; p = t.byPID[p.ppid] {
			keep = p.kept || in[p]
			way = append(way, p)
		}
		if keep {
			for _, p := range way {
				p.kept, in[p] = true, true
			}
		}
	}
	return in
}

// top returns the first n of list in order, without sorting all of it.
func top(list []*entry, n int, order func(a, b *entry) int) []*entry {
	out := make([]*entry, 0, n+1)
	for _, e := range list {
		if len(out) == n && order(out[n-1], e) <= 0 {
			continue
		}
		i, _ := slices.BinarySearchFunc(out, e, order)
		out = slices.Insert(out, i, e)
		if len(out) > n {
			out = out[:n]
		}
	}
	return out
}

// load gets details of the processes that have none, or old ones, and waits so long for them.
func (t *Table) load(ctx context.Context, show []*entry, now, patience time.Duration) {
	var wait []*entry
	for _, e := range show {
		if e.loading != nil {
			select {
			case d := <-e.loading:
				t.keep(e, d, now)
			default:
				continue // it hangs: asked once is enough
			}
		}
		if e.hasOnce && now-e.detailsAt < detailsAgain {
			continue
		}
		select {
		case t.loading <- struct{}{}:
		default:
			continue
		}
		c, pid, src, slots := make(chan details, 1), e.pid, t.src, t.loading
		e.loading = c
		go func() {
			d := src.details(pid)
			<-slots // first: who has the details may ask for the next
			c <- d
		}()
		wait = append(wait, e)
	}
	if len(wait) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, e := range wait {
		select {
		case d := <-e.loading:
			t.keep(e, d, now)
		case <-ctx.Done():
			return
		}
	}
}

func (t *Table) keep(e *entry, d details, now time.Duration) {
	e.loading = nil
	if d.uid < 0 && e.hasOnce {
		return // it has just ended
	}
	e.details, e.hasOnce, e.detailsAt, e.asked = d, true, now, 0
}

func (t *Table) attribute(e *entry) {
	if t.o.Attributor != nil && !e.owned && e.asked < askOwner {
		e.asked++
		c := Candidate{PID: e.pid, Cgroup: e.details.cgroup, Environ: e.details.environ}
		for p := t.byPID[e.ppid]; p != nil && len(c.Ancestors) < maxAncestors; p = t.byPID[p.ppid] {
			c.Ancestors = append(c.Ancestors, p.pid)
			if p.pid == p.ppid {
				break
			}
		}
		e.owner, e.owned = t.o.Attributor.Owner(c)
	}
	if !e.owned && e.details.container.ID != "" {
		e.owner = gpu.Owner{Kind: "container", ID: e.details.container.ID, Name: e.details.container.Runtime}
	}
}

func (t *Table) process(e *entry) gpu.Process {
	t.attribute(e)
	state := e.state
	if state == 'Z' && e.threads > 1 { // only its first thread has ended, see proc.Stat.Zombie
		state = 'S'
	}
	p := gpu.Process{PID: e.pid, PPID: e.ppid, StartedAt: e.startedAt, State: stateName(state), Threads: e.threads,
		Owner: e.owner}
	if e.hasShare {
		share := e.share
		p.CPU = &share
	}
	memory := e.memory
	p.Memory = &memory
	p.Command = e.details.command
	if p.Command == "" { // a thread of the kernel, a zombie, or one whose arguments can't be read
		p.Command = "[" + clean(e.comm) + "]"
	}
	if e.hasOnce && e.details.uid >= 0 {
		p.User = t.users.name(e.details.uid)
	}
	if p.Owner.Kind == "job" {
		p.JobID = p.Owner.ID
	}
	if e.loading != nil && !e.hasOnce {
		p.Note = "its arguments can't be read: it waits in the kernel"
	}
	return p
}

// joined is a process as the driver names it, with what the host knows of it.
func (t *Table) joined(g gpu.GPUProcess) gpu.Process {
	e := t.byPID[g.PID]
	var p gpu.Process
	switch {
	case e != nil && (!*t.o.Foreign || e.details.usesGPU):
		p = t.process(e)
		if p.State == "zombie" {
			p.Note = "zombie: its GPU memory is held until its parent (PID " + strconv.Itoa(e.ppid) + ") waits for it"
		}
	case *t.o.Foreign:
		p = gpu.Process{PID: g.PID, Note: "of another PID namespace: it can't be seen from in here"}
	default:
		p = gpu.Process{PID: g.PID, Note: "not seen on this host: it has ended, or is hidden from this user"}
	}
	index := g.GPU
	p.GPUIndex, p.MIG, p.GPUKind, p.GPUMemory, p.SM = &index, g.MIG, g.Kind, g.Memory, g.SM
	return p
}

func value(v *int64) int64 {
	if v == nil {
		return -1
	}
	return *v
}
