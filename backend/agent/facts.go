package agent

import (
	"context"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend/agent/boot"
	"berth/backend/agent/part"
	"berth/backend/agent/process"
	"berth/backend/agent/user"
	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/base/version"
	"berth/gpu"
	"berth/gpu/monitor"
)

// facts is what does not change while the agent runs, but for the GPUs, which are asked for in the
// background: a driver may take seconds.
type facts struct {
	host, kernel, user string
	memory             int64

	mu      sync.Mutex
	gpus    []api.GPU
	gpuWarn string
	hash    func() string
}

func newFacts() *facts {
	f := &facts{kernel: kernelRelease(), user: user.Name(), memory: memoryBytes()}
	f.host, _ = os.Hostname()
	f.hash = sync.OnceValue(part.OwnHash)
	return f
}

// start asks for the GPUs; ctx ends it.
func (f *facts) start(ctx context.Context) {
	if !gpu.Present() {
		return
	}
	go func() {
		devices, err := gpu.Detect(ctx)
		f.mu.Lock()
		defer f.mu.Unlock()
		if err != nil {
			f.gpuWarn = "the GPUs could not be asked for: " + err.Error()
			return
		}
		for _, d := range devices {
			f.gpus = append(f.gpus, api.GPU{Name: d.Name, MemoryBytes: d.MemoryBytes})
		}
	}()
}

// Info is what the agent says of itself and its host now.
func (a *Agent) Info() api.AgentInfo {
	f, v := a.facts, version.Current()
	i := api.AgentInfo{
		Version: v.Number, Built: v.Built, Hash: f.hash(), Capability: version.Capability, PID: os.Getpid(), Now: time.Now().UTC(), StartedAt: a.started,
		BootID: process.BootID(), MachineID: paths.MachineID(), Hostname: f.host, OS: runtime.GOOS, Arch: runtime.GOARCH, Kernel: f.kernel,
		User: f.user, Home: a.o.Home, Shell: a.o.Shell, Workdir: a.o.Workdir, StateDir: a.o.State, Socket: a.o.Socket,
		VCPUs: runtime.NumCPU(), MemoryBytes: f.memory, DiskBytes: diskBytes(a.o.Home), Execs: int(a.execs.Load()),
	}
	f.mu.Lock()
	i.GPUs = append([]api.GPU{}, f.gpus...)
	if f.gpuWarn != "" {
		i.Warnings = append(i.Warnings, f.gpuWarn)
	}
	f.mu.Unlock()
	a.login.Report(&i)
	i.Warnings = append(i.Warnings, a.figures.Problems()...)
	recs := a.terms.records()
	i.Terminals = len(recs)
	i.AfterReboot = boot.AfterReboot(a.o)
	last := []time.Time{a.started}
	if a.setups.Busy() {
		last = append(last, i.Now)
	}
	if s := a.figures.Last(); s != nil && s.GPUsStaleSince == nil && monitor.Busy(s) {
		last = append(last, s.SampledAt.UTC()) // a GPU that works is at work for somebody
	}
	if n := a.activity.Load(); n > 0 {
		last = append(last, time.Unix(0, n).UTC())
	}
	for _, r := range recs {
		last = append(last, ttyActivity(r.TTY)) // also of those that nobody is attached to
	}
	i.LastActivity = slices.MaxFunc(last, time.Time.Compare)
	return i
}

// ttyActivity is when a terminal was last written to or typed at: the kernel keeps both in the
// device's times, to a few seconds.
func ttyActivity(tty string) time.Time {
	var st unix.Stat_t
	if unix.Stat(tty, &st) != nil {
		return time.Time{}
	}
	a, m := statTimes(&st)
	if a.After(m) {
		return a.UTC()
	}
	return m.UTC()
}

func diskBytes(dir string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(st.Blocks) * int64(st.Bsize)
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
