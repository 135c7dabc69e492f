package figures

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/gpu"
	"berth/gpu/attention"
	"berth/gpu/monitor"
	"berth/gpu/probe"
	"berth/gpu/procs"
)

// service measures the host for as long as the agent is the one of its state folder.
type service struct {
	h *part.Host
	*monitor.Monitor
	probe *probe.Probe
	stop  context.CancelFunc
	done  chan struct{}
	began chan struct{} // closed when it measures

	mu      sync.Mutex
	gpus    []api.GPU
	gpuWarn string
}

// New makes the part that measures.
func New(h *part.Host) part.Part { return newService(h).part() }

func newService(h *part.Host) *service { return &service{h: h, began: make(chan struct{})} }

func (f *service) part() part.Part {
	return part.Part{
		Name:   "figures",
		Routes: f.routes(),
		Start:  f.start,
		Drain:  f.end,
		Stop:   f.end,
		Info:   f.info,
		Watch:  f.watch,
	}
}

// watch implements part.Part's Watch. Parts that start before this one wait for it.
func (f *service) watch(ctx context.Context, every time.Duration) (<-chan *gpu.Sample, func()) {
	select {
	case <-f.began:
	case <-ctx.Done():
		none := make(chan *gpu.Sample)
		close(none)
		return none, func() {}
	}
	samples, cancel := f.Watch(every)
	stop := context.AfterFunc(ctx, cancel)
	return samples, func() {
		stop()
		cancel()
	}
}

// start begins to measure, and asks for the GPUs in the background: a driver may take seconds.
func (f *service) start(ctx context.Context) error {
	h := f.h
	find := func() ([][]string, error) { return probe.Commands(part.Command(h.Exe, "probe"), h.Exe, h.BinDir()) }
	f.probe = probe.New(probe.Options{Find: find, Every: monitor.Idle, Log: h.Log})
	o := monitor.Options{GPU: newXIDs(f.probe, filepath.Join(h.State, "xids.json"), h.Log),
		History: filepath.Join(h.State, "history"), Attributor: owners{f}, Uses: h.GPUs, Keep: f.ownProcesses, Log: h.Log}
	if rules, err := attention.Builtin(); err != nil {
		h.Log.Error("nothing is looked after", "err", err) // a build whose rules no test has read
	} else {
		o.Findings = attention.New(rules).Check
	}
	f.Monitor = monitor.New(o)
	ctx, f.stop = context.WithCancel(ctx)
	f.done = make(chan struct{})
	close(f.began)
	go func() {
		defer close(f.done)
		h.Contain("measuring", func() { f.Run(ctx) })
	}()
	if gpu.Present() {
		go h.Contain("asking for the GPUs", func() { f.detect(ctx) })
	}
	return nil
}

func (f *service) detect(ctx context.Context) {
	devices, err := gpu.Detect(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.gpuWarn = "the GPUs could not be asked for: " + err.Error()
		return
	}
	for _, d := range devices {
		f.gpus = append(f.gpus, api.GPU{Name: d.Name, MemoryBytes: d.MemoryBytes, Unified: d.Unified})
	}
}

// end ends the measuring and the probe, and lets a newer agent have the history.
func (f *service) end() {
	f.stop()
	<-f.done
	_ = f.probe.Close() // a driver that hangs keeps its child; nothing waits for it
}

func (f *service) info(i *api.AgentInfo) {
	f.mu.Lock()
	i.GPUs = append(i.GPUs, f.gpus...)
	if f.gpuWarn != "" {
		i.Warnings = append(i.Warnings, f.gpuWarn)
	}
	f.mu.Unlock()
	i.Warnings = append(i.Warnings, f.Problems()...)
	if s := f.Last(); s != nil && s.GPUsStaleSince == nil && monitor.Busy(s) {
		part.Worked(i, s.SampledAt) // a GPU that works is at work for somebody
	}
}

// owners says whose a process is: the probe's, or whose the agent knows it to be.
type owners struct{ f *service }

// Owner implements procs.Attributor.
func (o owners) Owner(c procs.Candidate) (gpu.Owner, bool) {
	if c.PID == o.f.probe.Latest().PID {
		return gpu.Owner{Kind: "agent"}, true
	}
	return o.f.h.OwnerOf(c)
}

// ownProcesses are those below which all is of this instance: the agent, with the commands that it runs, and what its
// parts have started.
func (f *service) ownProcesses() []int {
	pids := []int{os.Getpid()}
	for _, p := range f.h.Processes() {
		pids = append(pids, p.PIDs...)
	}
	return pids
}
