package server

import (
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend/agent/part"
	"berth/backend/agent/user"
	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/base/version"
	"berth/gpu/procs/proc"
)

// facts is what does not change while the agent runs.
type facts struct {
	host, kernel, user string
	memory             int64
	hash               func() string
}

func newFacts() facts {
	f := facts{kernel: kernelRelease(), user: user.Name(), memory: MemoryBytes(), hash: sync.OnceValue(part.OwnHash)}
	f.host, _ = os.Hostname()
	return f
}

// Info is what the agent and its parts say of themselves and their host now.
func (a *Agent) Info() api.AgentInfo {
	f, v, o := a.facts, a.c.Version, a.c.Options
	i := api.AgentInfo{
		Version: v.Number, Built: v.Built, Hash: f.hash(), Capability: version.Capability,
		PID: os.Getpid(), Now: time.Now().UTC(), StartedAt: a.started,
		BootID: proc.BootID(), MachineID: paths.MachineID(), Hostname: f.host,
		OS: runtime.GOOS, Arch: runtime.GOARCH, Kernel: f.kernel,
		User: f.user, Home: o.Home, Shell: o.Shell, Workdir: o.Workdir, StateDir: o.State, Socket: o.Socket,
		VCPUs: runtime.NumCPU(), MemoryBytes: f.memory, DiskBytes: diskBytes(o.Home), GPUs: []api.GPU{},
		LastActivity: a.started,
	}
	if n := a.activity.Load(); n > 0 {
		part.Worked(&i, time.Unix(0, n))
	}
	a.homes.mu.Lock()
	i.Homes = slices.Clone(a.homes.file.Homes)
	a.homes.mu.Unlock()
	a.login.Report(&i)
	for _, p := range a.parts {
		p.info(&i)
	}
	for n := range i.GPUs {
		if g := &i.GPUs[n]; g.Unified {
			g.MemoryBytes = f.memory
		}
	}
	return i
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
