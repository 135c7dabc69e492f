package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu"
	"berth/gpu/history"
	"berth/gpu/host"
	"berth/gpu/probe"
	"berth/gpu/procs"
)

var _ GPUs = (*probe.Probe)(nil)

func p[T any](v T) *T { return &v }

// fakeGPUs is a probe that says what a test wants.
type fakeGPUs struct {
	mu    sync.Mutex
	state probe.State
	every []time.Duration
	panic bool
}

func (f *fakeGPUs) Latest() probe.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panic {
		panic("the driver is mad")
	}
	return f.state
}

func (f *fakeGPUs) Every(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.every); n == 0 || f.every[n-1] != d {
		f.every = append(f.every, d)
	}
}

func (f *fakeGPUs) paces() []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]time.Duration{}, f.every...)
}

func (f *fakeGPUs) set(change func(*fakeGPUs)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func eight(utilization float64, pids ...int) probe.State {
	r := gpu.Reading{At: time.Now(), Source: "nvml", DriverVersion: "570.1", GPUs: []gpu.GPU{}}
	for i := range 8 {
		r.GPUs = append(r.GPUs, gpu.GPU{Index: i, UUID: fmt.Sprintf("GPU-%08d-1111-2222-3333-444444444444", i),
			Name: "NVIDIA H100 80GB HBM3", PCI: "00000000:18:00.0",
			Utilization: p(utilization), MemoryUtilization: p(31.0), MemoryUsed: p(int64(71234567890)),
			MemoryTotal: p(int64(85520809984)),
			Temperature: p(67.0), Power: p(512.345), PowerLimit: p(700.0), SMClock: p(1755.0), Throttle: []string{"power cap"},
			Energy: p(1e9),
			PCIeRx: p(int64(1e9)), PCIeTx: p(int64(1e9)), ECC: &gpu.ECC{Corrected: p(int64(0))}})
	}
	for i, pid := range pids {
		r.Processes = append(r.Processes, gpu.GPUProcess{PID: pid, GPU: i % 8, Kind: "compute", Memory: p(int64(i) << 30)})
	}
	return probe.State{Reading: r}
}

func run(t *testing.T, o Options) *Monitor {
	t.Helper()
	m := New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return m
}

func TestSampleOfThisHost(t *testing.T) {
	f := &fakeGPUs{state: eight(90, os.Getpid())}
	m := run(t, Options{GPU: f, History: filepath.Join(t.TempDir(), "history"), Procs: procs.Options{Foreign: p(false)},
		Attributor: procs.Trees(func() map[int]gpu.Owner { return map[int]gpu.Owner{os.Getpid(): {Kind: "agent"}} }),
		Findings: func(s *gpu.Sample) []gpu.Finding {
			return []gpu.Finding{{ID: "x", Severity: "info", Text: s.GPUs[0].Name}}
		}})
	s, err := m.Sample(t.Context())
	require.NoError(t, err)
	require.Len(t, s.GPUs, 8)
	require.NotNil(t, s.CPU, "the first sample has shares already")
	require.NotNil(t, s.MemoryTotal)
	require.NotEmpty(t, s.Disks)
	require.Positive(t, s.ProcessCount)
	require.Equal(t, os.Getpid(), s.Processes[0].PID)
	require.Equal(t, "agent", s.Processes[0].Owner.Kind)
	require.Equal(t, "NVIDIA H100 80GB HBM3", s.Attention[0].Text)
	again, err := m.Sample(t.Context())
	require.NoError(t, err)
	require.NotNil(t, again)
	require.NotNil(t, m.Last())
	require.Empty(t, m.Problems())
	require.Eventually(t, func() bool {
		series, err := m.Series(history.Query{Metrics: []string{"gpu_power_watts"}, Since: s.SampledAt.Add(-time.Minute)})
		require.NoError(t, err)
		return len(series) == 8
	}, 2*time.Minute, time.Millisecond)

	b, err := json.Marshal(s)
	require.NoError(t, err)
	require.Contains(t, string(b), `"utilization_percent":90`)
}

// A GPU without memory of its own shows the host's, marked, and no bus; the probe's own reading stays as it was.
func TestUnifiedMemory(t *testing.T) {
	st := eight(40)
	st.Reading.GPUs = st.Reading.GPUs[:2]
	g := &st.Reading.GPUs[0]
	g.Unified, g.MemoryTotal, g.MemoryUsed, g.PCIeGeneration, g.PCIeWidth = true, nil, nil, p(1), p(1)
	m := run(t, Options{GPU: &fakeGPUs{state: st}, Procs: procs.Options{Foreign: p(false)}})
	s, err := m.Sample(t.Context())
	require.NoError(t, err)
	one, two := s.GPUs[0], s.GPUs[1]
	require.True(t, one.Unified)
	require.Equal(t, *s.MemoryTotal, *one.MemoryTotal)
	require.Equal(t, *s.MemoryUsed, *one.MemoryUsed)
	for _, v := range []any{one.PCIeRx, one.PCIeTx, one.PCIeGeneration, one.PCIeWidth, one.MemoryReserved} {
		require.Nil(t, v)
	}
	require.False(t, two.Unified)
	require.NotNil(t, two.PCIeRx)
	require.Nil(t, g.MemoryTotal, "what the probe says is not changed")
	require.NotNil(t, g.PCIeRx)

	sum := m.Summary(s)
	require.True(t, sum.GPUs[0].Unified)
	require.Equal(t, *s.MemoryTotal, *sum.GPUs[0].MemoryTotal)
	require.False(t, sum.GPUs[1].Unified)
	b, err := json.Marshal(sum)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(b), `"un":true`))

	require.Eventually(t, func() bool {
		series, err := m.Series(history.Query{Metrics: []string{"gpu_memory_used_bytes"}, Since: s.SampledAt.Add(-time.Minute)})
		require.NoError(t, err)
		if len(series) < 2 {
			return false
		}
		unified := map[string]bool{}
		for _, x := range series {
			unified[x.Subject] = x.Unified
		}
		return unified[one.UUID] && !unified[two.UUID]
	}, 2*time.Minute, time.Millisecond)
}

// Who searches gets what is not among those that use most; nobody else does.
func TestSearch(t *testing.T) {
	small := exec.CommandContext(t.Context(), "sleep", "1000")
	require.NoError(t, small.Start())
	defer func() { _ = small.Process.Kill(); _ = small.Wait() }()
	m := run(t, Options{Procs: procs.Options{Foreign: p(false), Top: 1}})
	has := func(s *gpu.Sample) bool {
		return slices.ContainsFunc(s.Processes, func(p gpu.Process) bool { return p.PID == small.Process.Pid })
	}
	c, stop := m.Search(time.Second, &procs.Search{PIDs: []int{small.Process.Pid}})
	defer stop()
	require.True(t, has(<-c))
	require.True(t, has(<-c))
	s, err := m.Sample(t.Context())
	require.NoError(t, err)
	require.False(t, has(s))
}

func TestPaceFollowsWhoWatches(t *testing.T) {
	f := &fakeGPUs{state: eight(0)}
	m := run(t, Options{GPU: f})
	slow, stop := m.Watch(5 * time.Second)
	first := <-slow
	require.NotNil(t, first)
	fast, stopFast := m.Watch(time.Millisecond) // not faster than once a second
	var last time.Time
	for range 3 {
		s := <-fast
		require.True(t, s.SampledAt.After(last))
		if !last.IsZero() {
			require.GreaterOrEqual(t, s.SampledAt.Sub(last), 450*time.Millisecond)
		}
		last = s.SampledAt
	}
	stopFast()
	_, open := <-fast
	for open { // what was under way
		_, open = <-fast
	}
	stopFast()
	stop()
	hold := m.Hold(2 * time.Second)
	defer hold()
	require.Eventually(t, func() bool { e := f.paces(); return e[len(e)-1] == 2*time.Second }, 2*time.Minute,
		time.Millisecond)
	require.Subset(t, f.paces(), []time.Duration{5 * time.Second, Fastest, 2 * time.Second})
}

func TestSlowReadersGetTheNewest(t *testing.T) {
	m := New(Options{})
	c, stop := m.Watch(time.Second)
	defer stop()
	for i := range 5 {
		for w := range m.watchers {
			w.due = 0
		}
		m.publish(&gpu.Sample{ProcessCount: i}, nil)
	}
	require.Equal(t, 4, (<-c).ProcessCount)
	select {
	case <-c:
		t.Fatal("there is only one")
	default:
	}
}

func TestEndOfTheMonitor(t *testing.T) {
	m := New(Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	c, stop := m.Watch(time.Second)
	<-c
	cancel()
	<-done
	for range c { // it is closed
	}
	stop()
	m.mu.Lock()
	m.last = nil
	m.mu.Unlock()
	_, err := m.Sample(t.Context())
	require.ErrorIs(t, err, ErrClosed)
	c, stop = m.Watch(time.Second)
	_, ok := <-c
	require.False(t, ok)
	stop()

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = New(Options{}).Sample(ended) // nobody runs it
	require.ErrorIs(t, err, context.Canceled)
}

// TestFaultsStayWhereTheyAre: whatever fails, the rest goes on.
func TestFaultsStayWhereTheyAre(t *testing.T) {
	f := &fakeGPUs{panic: true}
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	m := New(Options{GPU: f, History: filepath.Join(file, "history"),
		Findings: func(*gpu.Sample) []gpu.Finding { panic("a rule divides by zero") },
		Host:     host.Options{Mounts: func() ([]host.Mount, error) { return nil, errors.New("no mounts today") }}})
	m.tick(t.Context())
	s := m.Last()
	require.NotNil(t, s)
	require.NotNil(t, s.MemoryTotal)
	require.NotNil(t, s.GPUs)
	require.NotNil(t, s.Disks)
	require.NotEmpty(t, s.Processes)
	all := strings.Join(m.Problems(), "\n")
	for _, want := range []string{"GPUs: an internal error: the driver is mad", "attention: an internal error",
		"disks: no mounts today", "history is in memory only"} {
		require.Contains(t, all, want)
	}
	f.set(func(f *fakeGPUs) { f.panic, f.state = false, eight(1) })
	m.tick(t.Context())
	require.Len(t, m.Last().GPUs, 8)
	require.NotContains(t, strings.Join(m.Problems(), "\n"), "GPUs")
}

func TestStaleGPUs(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	st := eight(50)
	st.Stale, st.Reason, st.Age = true, "the NVIDIA driver has not answered for 1m0s", time.Minute
	f := &fakeGPUs{state: st}
	m := New(Options{GPU: f, Now: func() time.Time { return now }})
	m.tick(t.Context())
	s := m.Last()
	require.Equal(t, now.Add(-time.Minute), *s.GPUsStaleSince)
	require.Contains(t, s.GPUError, "not answered")
	require.Len(t, s.GPUs, 8)
	require.True(t, m.Summary(s).Stale)
	require.Nil(t, m.Summary(s).GPUIdleSince)
	series, err := m.Series(history.Query{Metrics: []string{"gpu_utilization_percent"}})
	require.NoError(t, err)
	require.Empty(t, series, "old figures are no history")

	m = New(Options{NoGPU: "no NVIDIA driver is loaded on this host"})
	m.tick(t.Context())
	require.Equal(t, "no NVIDIA driver is loaded on this host", m.Last().GPUError)
	require.Equal(t, []gpu.GPU{}, m.Last().GPUs)
}

func TestSummary(t *testing.T) {
	m := New(Options{GPU: &fakeGPUs{state: eight(97.26, os.Getpid())}, Procs: procs.Options{Foreign: p(false)}})
	m.tick(t.Context())
	s := *m.Last()
	s.GPUs[3].LastXID = &gpu.XID{Code: 79, At: s.SampledAt.Add(-time.Minute)}
	s.GPUs[4].LastXID = &gpu.XID{Code: 31, At: s.SampledAt, Application: true}
	s.Disks = []gpu.Disk{{Mount: "/share", Network: true, UsedPercent: p(99.0)}, {Mount: "/", UsedPercent: p(91.0),
		Available: p(int64(5)), FullIn: p(3600.4)}, {Mount: "/data", UsedPercent: p(20.0)}}
	sum := m.Summary(&s)
	require.Equal(t, "/", sum.Disk)
	require.Equal(t, 3600.0, *sum.DiskFullIn)
	require.Equal(t, 91.0, *sum.DiskPercent)
	require.False(t, sum.DiskInodes)
	require.Equal(t, 97.3, *sum.GPUs[0].Utilization)
	require.True(t, sum.GPUs[0].Throttled)
	require.NotEmpty(t, sum.GPUs[0].User)
	require.Equal(t, 79, sum.GPUs[3].XID)
	require.Zero(t, sum.GPUs[4].XID)
	require.Equal(t, 1, sum.GPUProcesses)
	require.Nil(t, sum.GPUIdleSince)
	b, err := json.Marshal(sum)
	require.NoError(t, err)
	require.Less(t, len(b), 2048, "%s", b)

	// Files can run out before space does, also where the space is not known.
	full := s.Disks
	s.Disks = append(slices.Clone(full), gpu.Disk{Mount: "/small", UsedPercent: p(30.0), InodesUsed: p(96.04)},
		gpu.Disk{Mount: "/tmp", Filesystem: "tmpfs", UsedPercent: p(100.0), InodesUsed: p(100.0)},
		gpu.Disk{Mount: "/ro", ReadOnly: true, InodesUsed: p(100.0)}, gpu.Disk{Mount: "/share", Network: true,
			InodesUsed: p(100.0)})
	sum = m.Summary(&s)
	require.Equal(t, "/small", sum.Disk)
	require.Equal(t, 96.0, *sum.DiskPercent)
	require.True(t, sum.DiskInodes)
	b, err = json.Marshal(sum)
	require.NoError(t, err)
	require.Less(t, len(b), 2048)
	s.Disks = append(s.Disks, gpu.Disk{Mount: "/both", UsedPercent: p(97.0), InodesUsed: p(97.0)})
	require.Equal(t, "/both", m.Summary(&s).Disk)
	require.False(t, m.Summary(&s).DiskInodes, "space, where both are as scarce")
	s.Disks = []gpu.Disk{{Mount: "/odd", InodesUsed: p(2.0)}}
	require.Equal(t, 2.0, *m.Summary(&s).DiskPercent)
	s.Disks = full
	sum = m.Summary(&s)

	short := Shorten(sum, m.Summary(&s))
	require.Empty(t, short.GPUs[7].Name)
	require.NotEmpty(t, sum.GPUs[7].Name)
	for i := range 5 {
		s.Attention = append(s.Attention, gpu.Finding{ID: fmt.Sprint(i), Severity: []string{"critical", "info"}[i%2],
			Text: "text", Advice: strings.Repeat("advice ", 20)})
	}
	sum = m.Summary(&s)
	b, err = json.Marshal(sum)
	require.NoError(t, err)
	require.Less(t, len(b), 2048)
	require.Len(t, sum.Attention, 5)
	require.Empty(t, sum.Attention[1].Advice)
	require.NotEmpty(t, s.Attention[1].Advice, "the sample keeps it")
}

func TestIdleSince(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	f := &fakeGPUs{state: eight(3)}
	path := filepath.Join(t.TempDir(), "history")
	o := Options{GPU: f, History: path, Now: func() time.Time { return now }, Procs: procs.Options{Top: 1},
		Host: host.Options{Mounts: func() ([]host.Mount, error) { return nil, nil }}}
	m := New(o)
	since := func() *time.Time { return m.Summary(m.Last()).GPUIdleSince }
	tick := func(minutes int) {
		for range minutes {
			now = now.Add(time.Minute)
			m.tick(t.Context())
		}
	}
	tick(1)
	began := now
	tick(30)
	require.Equal(t, began, *since())
	f.set(func(f *fakeGPUs) { f.state = eight(60) })
	tick(5)
	require.Nil(t, since())
	f.set(func(f *fakeGPUs) { f.state = eight(0) })
	tick(1)
	began = now
	tick(60)
	require.Equal(t, began, *since())
	f.set(func(f *fakeGPUs) { f.state.Stale, f.state.Reason = true, "hung" })
	tick(2)
	require.Equal(t, began, *since(), "nothing new is known")

	// The agent is replaced: it knows from the history, to the minute.
	require.NoError(t, m.history.Close())
	f.set(func(f *fakeGPUs) { f.state = eight(0) })
	m = New(o)
	m.remember()
	tick(1)
	require.WithinDuration(t, began, *since(), time.Minute)
	// It was away for an hour: nobody knows what the GPUs did.
	require.NoError(t, m.history.Close())
	now = now.Add(time.Hour)
	m = New(o)
	m.remember()
	tick(1)
	require.Equal(t, now, *since())
}

func TestSamplesFallOnTheSamePlaceOfEachStep(t *testing.T) {
	now := time.Unix(1_790_000_003, 0)
	m := New(Options{Now: func() time.Time { return now }})
	m.phase = 0.5
	require.Equal(t, 2*time.Second, m.untilNext(Idle))
	now = now.Add(2 * time.Second)
	require.Equal(t, Idle, m.untilNext(Idle))
	now = now.Add(9900 * time.Millisecond) // a tick that came early does not come twice
	require.Equal(t, Idle+100*time.Millisecond, m.untilNext(Idle))
}

// TestHistoryThatHangs: its file lies on a share whose server is away.
func TestHistoryThatHangs(t *testing.T) {
	m := New(Options{})
	stop := m.record()
	m.start = m.start.Add(-time.Hour)
	m.setKeeping(time.Minute) // it has been writing for 59 minutes
	_, err := m.Series(history.Query{})
	require.ErrorContains(t, err, "has not answered for 59m0s")
	require.Contains(t, m.Problems()[0], "has not answered")
	m.setKeeping(0)
	stop()

	m = New(Options{})
	m.samples = make(chan *gpu.Sample) // nobody takes them
	m.tick(t.Context())
	require.NotNil(t, m.Last())
}
