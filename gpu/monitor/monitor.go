package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"berth/gpu"
	"berth/gpu/history"
	"berth/gpu/host"
	"berth/gpu/probe"
	"berth/gpu/procs"
)

// GPUs is where the figures of GPUs come from: a *probe.Probe.
type GPUs interface {
	// Latest returns what is known now, without waiting.
	Latest() probe.State
	// Every sets how often the GPUs are asked.
	Every(time.Duration)
}

// Options say what is measured, and how.
type Options struct {
	GPU GPUs // nil: none
	// NoGPU says why GPU is nil, in plain words.
	NoGPU string
	// History is the file of the history; "": it is kept in memory only.
	History string
	// Attributor says whose a process is; nil: only containers are known.
	Attributor procs.Attributor
	// Uses says who has the GPUs, by their UUIDs; nil: nobody knows.
	Uses func() map[string]gpu.Use
	// Keep gives processes that each sample shows, with all below them: see procs.Options.
	Keep func() []int
	// Findings says what wants attention in a sample; it is called with each, in order. nil: nothing does.
	Findings func(*gpu.Sample) []gpu.Finding
	Log      *slog.Logger
	Now      func() time.Time

	// Host and Procs are for tests; the zero values measure this host.
	Host  host.Options
	Procs procs.Options
}

const (
	// Fastest and Idle are the paces while somebody watches and otherwise.
	Fastest = time.Second
	Idle    = 10 * time.Second
	// fresh is how old a sample may be that Sample returns.
	fresh = time.Second
	// least lies between a sample that somebody asked for and the next one of the pace.
	least = Fastest / 2
)

// ErrClosed is returned once Run has ended.
var ErrClosed = errors.New("the figures of this host are no longer measured: the agent is ending")

// Monitor measures one host. All methods but Run may be called from any goroutine.
type Monitor struct {
	o       Options
	start   time.Time // of the monotonic clock
	host    *host.Reader
	table   *procs.Table
	history *history.History
	samples chan *gpu.Sample // for the history; nil unless Run runs
	phase   float64          // where in an interval this host samples: fleets would else sample all at once
	wake    chan struct{}
	ended   chan struct{}

	mu       sync.Mutex
	watchers map[*watcher]struct{}
	last     *gpu.Sample
	lastAt   time.Duration // of the monotonic clock, when it was taken
	next     chan struct{} // closed with the next sample
	wanted   bool          // somebody waits for a sample
	idle     idleness
	keeping  time.Duration     // since when the history keeps a sample, by the monotonic clock; 0: it does not
	problems map[string]string // by part
	faults   map[string]string // parts that panicked
}

type watcher struct {
	every  time.Duration
	due    time.Duration
	c      chan *gpu.Sample
	search *procs.Search // what its samples show beside what all show; nil: nothing
}

// New prepares a Monitor; nothing is measured until Run.
func New(o Options) *Monitor {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Host.Now, o.Procs.Now = o.Now, o.Now
	if o.Attributor != nil {
		o.Procs.Attributor = o.Attributor
	}
	if o.Keep != nil {
		o.Procs.Keep = o.Keep
	}
	return &Monitor{o: o, start: time.Now(), host: host.New(o.Host), table: procs.New(o.Procs),
		history: history.Open(o.History, o.Now),
		phase:   0.1 + 0.8*rand.Float64(), wake: make(chan struct{}, 1), ended: make(chan struct{}),
		watchers: map[*watcher]struct{}{},
		next:     make(chan struct{}), problems: map[string]string{}, faults: map[string]string{}}
}

func (m *Monitor) elapsed() time.Duration { return time.Since(m.start) }

// Run measures until ctx ends. It is called once, and closes the history when it returns.
func (m *Monitor) Run(ctx context.Context) {
	defer func() {
		m.host.Close()
		m.mu.Lock()
		defer m.mu.Unlock()
		close(m.ended)
		for w := range m.watchers {
			close(w.c)
		}
		m.watchers = nil
	}()
	stop := m.record()
	defer stop()
	m.guard("remembering", m.remember)
	// Rates and shares need a first look to be compared with.
	m.guard("host", func() { m.host.Host() })
	m.guard("processes", func() { _, _, _ = m.table.Scan(ctx, nil, true) })
	primed := m.elapsed()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		every := m.pace()
		if m.o.GPU != nil {
			m.o.GPU.Every(every)
		}
		wait := m.untilNext(every)
		if primed > 0 {
			wait = Fastest
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
			m.mu.Lock()
			age := m.elapsed() - max(m.lastAt, primed)
			hurry := m.wanted && age < fresh
			m.mu.Unlock()
			if age < fresh {
				if !hurry {
					continue // the pace changed
				}
				timer.Reset(fresh - age)
				select {
				case <-ctx.Done():
					return
				case <-timer.C:
				}
			}
		case <-timer.C:
		}
		primed = 0
		m.tick(ctx)
	}
}

// pace is the interval that the fastest watcher wants.
func (m *Monitor) pace() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	every := Idle
	for w := range m.watchers {
		every = min(every, w.every)
	}
	return every
}

// untilNext lets samples fall on the same place in each interval of the wall clock, so that none of the history's
// steps gets two of them and its neighbour none.
func (m *Monitor) untilNext(every time.Duration) time.Duration {
	now := m.o.Now()
	next := now.Truncate(every).Add(time.Duration(m.phase * float64(every)))
	for next.Sub(now) < least {
		next = next.Add(every)
	}
	return next.Sub(now)
}

// tick takes one sample.
func (m *Monitor) tick(ctx context.Context) {
	m.mu.Lock()
	watched := len(m.watchers) > 0 || m.wanted
	searches := map[*watcher]procs.Search{}
	for w := range m.watchers {
		if w.search != nil {
			searches[w] = *w.search
		}
	}
	m.mu.Unlock()
	s := m.measure(ctx, watched)
	m.guard("attention", func() {
		if m.o.Findings != nil {
			s.Attention = m.o.Findings(s)
		}
	})
	own := map[*watcher]*gpu.Sample{}
	for w, q := range searches {
		own[w] = s
		m.guard("a search", func() {
			found, err := m.table.Find(ctx, q)
			m.problem("a search", err)
			own[w] = with(s, found)
		})
	}
	m.keep(s)
	m.publish(s, own)
}

// with is a sample that has these processes, too.
func with(s *gpu.Sample, found []gpu.Process) *gpu.Sample {
	has := map[int]bool{}
	for i := range s.Processes {
		has[s.Processes[i].PID] = true
	}
	out := *s
	out.Processes = slices.Clip(s.Processes)
	for _, p := range found {
		if !has[p.PID] {
			out.Processes = append(out.Processes, p)
		}
	}
	return &out
}

func (m *Monitor) measure(ctx context.Context, watched bool) *gpu.Sample {
	s := &gpu.Sample{SampledAt: m.o.Now().Round(0), GPUs: []gpu.GPU{}, Processes: []gpu.Process{}, Disks: []gpu.Disk{}}
	var onGPU []gpu.GPUProcess
	m.guard("GPUs", func() { onGPU = m.gpus(s) })
	m.guard("host", func() {
		s.Host = m.host.Host()
		s.GPUs = unified(s.GPUs, &s.Host)
	})
	m.guard("who has the GPUs", func() {
		if m.o.Uses != nil && len(s.GPUs) > 0 {
			s.GPUs = used(s.GPUs, m.o.Uses())
		}
	})
	m.guard("disks", func() {
		disks, err := m.host.Disks(ctx)
		m.problem("disks", err)
		s.Disks = disks
	})
	m.guard("processes", func() {
		list, n, err := m.table.Scan(ctx, onGPU, watched)
		m.problem("processes", err)
		s.Processes, s.ProcessCount = list, n
	})
	return s
}

// unified gives GPUs without memory of their own the host's. They hang on no PCIe bus, whatever the driver says.
// What is given is not changed.
func unified(gpus []gpu.GPU, h *gpu.Host) []gpu.GPU {
	if !slices.ContainsFunc(gpus, func(g gpu.GPU) bool { return g.Unified }) {
		return gpus
	}
	out := slices.Clone(gpus)
	for i := range out {
		if g := &out[i]; g.Unified {
			g.MemoryTotal, g.MemoryUsed, g.MemoryReserved = h.MemoryTotal, h.MemoryUsed, nil
			g.PCIeRx, g.PCIeTx, g.PCIeGeneration, g.PCIeWidth = nil, nil, nil, nil
		}
	}
	return out
}

// used says of GPUs who has them. What is given is not changed.
func used(gpus []gpu.GPU, by map[string]gpu.Use) []gpu.GPU {
	if len(by) == 0 {
		return gpus
	}
	out := slices.Clone(gpus)
	for i := range out {
		g := &out[i]
		g.Use = by[g.UUID]
		g.MIG = slices.Clone(g.MIG)
		for j := range g.MIG {
			g.MIG[j].Use = by[g.MIG[j].UUID]
		}
	}
	return out
}

// gpus puts what the probe knows into a sample.
func (m *Monitor) gpus(s *gpu.Sample) []gpu.GPUProcess {
	if m.o.GPU == nil {
		s.GPUError = m.o.NoGPU
		return nil
	}
	st := m.o.GPU.Latest()
	r := st.Reading
	s.GPUError = st.Reason
	if s.GPUError == "" {
		s.GPUError = r.Error
	}
	if r.GPUs != nil {
		s.GPUs = r.GPUs
	}
	s.GPUSource, s.DriverVersion, s.CUDAVersion, s.Topology = r.Source, r.DriverVersion, r.CUDAVersion, r.Topology
	s.GPUsReadAt = r.At
	if st.Stale && len(r.GPUs) > 0 {
		since := m.o.Now().Add(-st.Age).Round(0)
		s.GPUsStaleSince = &since
	}
	return r.Processes
}

// publish gives a sample to those that wait and watch; own is what those that search get instead.
func (m *Monitor) publish(s *gpu.Sample, own map[*watcher]*gpu.Sample) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.idle.see(s)
	m.last, m.lastAt, m.wanted = s, m.elapsed(), false
	close(m.next)
	m.next = make(chan struct{})
	for w := range m.watchers {
		give := s
		if w.search != nil {
			if give = own[w]; give == nil { // it came while this sample was taken
				m.wanted = true
				m.poke()
				continue
			}
		}
		if m.lastAt >= w.due {
			w.due = m.lastAt + w.every*9/10
			w.give(give)
		}
	}
}

// give replaces a sample that was not taken: who is slow gets the newest.
func (w *watcher) give(s *gpu.Sample) {
	for {
		select {
		case w.c <- s:
			return
		default:
		}
		select {
		case <-w.c:
		default:
		}
	}
}

// Watch gives a sample now and then every so often (at least Fastest), dropping those that are not taken in time,
// until cancel is called or Run ends; the channel is closed then. The samples may not be changed.
func (m *Monitor) Watch(every time.Duration) (samples <-chan *gpu.Sample, cancel func()) {
	return m.Search(every, nil)
}

// Search is Watch with samples that have the processes of a search, too; nil: none.
func (m *Monitor) Search(every time.Duration, search *procs.Search) (samples <-chan *gpu.Sample, cancel func()) {
	w := &watcher{every: max(every, Fastest), c: make(chan *gpu.Sample, 1), search: search}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watchers == nil {
		close(w.c)
		return w.c, func() {}
	}
	m.watchers[w] = struct{}{}
	if search == nil && m.last != nil && m.elapsed()-m.lastAt < fresh {
		w.due = m.lastAt + w.every*9/10
		w.give(m.last)
	} else {
		m.wanted = true
	}
	m.poke()
	return w.c, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if _, ok := m.watchers[w]; ok {
			delete(m.watchers, w)
			close(w.c)
			m.poke()
		}
	}
}

// Hold samples as fast as for a watcher until cancel is called, for the history: while a job runs.
func (m *Monitor) Hold(every time.Duration) (cancel func()) {
	_, cancel = m.Watch(every)
	return cancel
}

// Sample returns figures that are at most a second old. It fails when ctx ends, or with ErrClosed.
func (m *Monitor) Sample(ctx context.Context) (*gpu.Sample, error) {
	for {
		m.mu.Lock()
		if m.last != nil && m.elapsed()-m.lastAt < fresh {
			defer m.mu.Unlock()
			return m.last, nil
		}
		m.wanted = true
		next := m.next
		m.poke()
		m.mu.Unlock()
		select {
		case <-next:
		case <-m.ended:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for figures of this host: %w", ctx.Err())
		}
	}
}

// poke wakes the loop.
func (m *Monitor) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Last returns the last sample, however old; nil: there is none yet.
func (m *Monitor) Last() *gpu.Sample {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// Problems says what can't be measured or kept, for `berth doctor`; sorted.
func (m *Monitor) Problems() []string {
	var out []string
	if err := m.historyProblem(); err != nil {
		out = append(out, err.Error())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for part, p := range m.problems {
		if part != "history" {
			out = append(out, part+": "+p)
		}
	}
	for part, p := range m.faults {
		out = append(out, part+": "+p)
	}
	slices.Sort(out)
	return out
}

// problem keeps, and logs when it is new, what went wrong with one part; nil: nothing did.
func (m *Monitor) problem(part string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		delete(m.problems, part)
		return
	}
	if m.problems[part] != err.Error() {
		m.problems[part] = err.Error()
		m.o.Log.Warn("a part of the figures can't be had", "part", part, "error", err)
	}
}

// guard keeps a fault in one part from ending the agent, and from taking the other parts with it.
func (m *Monitor) guard(part string, f func()) {
	defer func() {
		r := recover()
		m.mu.Lock()
		defer m.mu.Unlock()
		if r == nil {
			delete(m.faults, part)
			return
		}
		was := m.faults[part]
		m.faults[part] = fmt.Sprintf("an internal error: %v", r)
		if m.faults[part] != was { // once, not each second
			m.o.Log.Error("a part of the figures failed", "part", part, "panic", r, "stack", string(debug.Stack()))
		}
	}()
	f()
}
