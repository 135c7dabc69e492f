package host

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/gpu"
	"berth/gpu/host/procfile"
)

// limits are the control groups of the container that this process runs in: folders, "" where there is none.
type limits struct {
	v2                           string
	memory, cpu, cpuacct, cpuset string // version 1
	usage                        time.Duration
	known                        bool
}

// findLimits finds the container's own groups. What limits only the agent itself (a slice of systemd with a
// MemoryMax) is not looked at: it says nothing about the machine.
func findLimits(mountinfo, own []byte) limits {
	paths := map[string]string{} // controller to our own path; "" is version 2
	for _, g := range procfile.Groups(own) {
		if len(g.Controllers) == 0 {
			paths[""] = g.Path
		}
		for _, c := range g.Controllers {
			paths[c] = g.Path
		}
	}
	var l limits
	for _, m := range parseMountinfo(mountinfo) {
		at := func(controller string) string {
			// In a name space of its own, or bound in by the engine, the container's group is the mount itself.
			p := paths[controller]
			if _, in := procfile.ContainerOf(p); in && m.Root == "/" {
				return filepath.Join(m.Point, p)
			}
			return m.Point
		}
		switch m.Type {
		case "cgroup2":
			l.v2 = at("")
		case "cgroup":
			for _, c := range strings.Split(m.Super, ",") {
				switch c {
				case "memory":
					l.memory = at(c)
				case "cpu":
					l.cpu = at(c)
				case "cpuacct":
					l.cpuacct = at(c)
				case "cpuset":
					l.cpuset = at(c)
				}
			}
		}
	}
	if l.memory != "" || l.cpu != "" {
		l.v2 = "" // both are mounted: what version 1 has, version 2 has not
	}
	return l
}

// number reads a file with one number; "max" and what is no number are not ok.
func (r *Reader) number(path string) (uint64, bool) {
	b, err := r.file.Read(path)
	if err != nil {
		return 0, false
	}
	w, _ := procfile.Next(b)
	return procfile.Uint(w)
}

// limit makes the machine's figures those of the container where it has less than the machine.
func (r *Reader) limit(h *gpu.Host, m memory, passed time.Duration) {
	l := &r.os.limits
	root := func(p string) string { return filepath.Join(r.o.Root, p) }
	if l.v2 != "" {
		if max, ok := r.number(root(l.v2 + "/memory.max")); ok && max < m.total {
			used, ok := r.number(root(l.v2 + "/memory.current"))
			if ok {
				r.containerMemory(h, root(l.v2+"/memory.stat"), max, used, "file", "slab_reclaimable", "shmem")
			}
			if max, ok := r.number(root(l.v2 + "/memory.swap.max")); ok && max <= m.swapTotal {
				used, _ := r.number(root(l.v2 + "/memory.swap.current"))
				h.SwapTotal, h.SwapUsed = ptr(int64(max)), ptr(int64(min(used, max)))
			}
		}
		if h.Container {
			if p, ok := r.pressure(root(l.v2), "/cpu.pressure", "/memory.pressure", "/io.pressure"); ok {
				h.Pressure = &p
			}
		}
	} else if l.memory != "" {
		if max, ok := r.number(root(l.memory + "/memory.limit_in_bytes")); ok && max < m.total {
			if used, ok := r.number(root(l.memory + "/memory.usage_in_bytes")); ok {
				r.containerMemory(h, root(l.memory+"/memory.stat"), max, used, "total_cache", "", "total_shmem")
			}
		}
	}
	r.containerCPU(h, passed)
}

func (r *Reader) containerMemory(h *gpu.Host, stat string, max, used uint64, file, slab, shared string) {
	var cache, shm uint64
	if b, err := r.file.Read(stat); err == nil {
		procfile.Keyed(b, func(k []byte, v uint64) {
			switch string(k) {
			case file, slab:
				cache += v
			case shared:
				shm = v
			}
		})
	}
	// Shared memory counts as file cache there, but nothing can take it back.
	cache = min(cache-min(cache, shm), used)
	h.Container = true
	h.MemoryTotal, h.MemoryCache = ptr(int64(max)), ptr(int64(cache))
	h.MemoryUsed = ptr(int64(min(used-cache, max)))
	h.MemoryAvailable = ptr(int64(max) - *h.MemoryUsed)
}

// containerCPU gives the share of the processors that the container may use.
func (r *Reader) containerCPU(h *gpu.Host, passed time.Duration) {
	l, cores := &r.os.limits, r.os.cores
	root := func(p string) string { return filepath.Join(r.o.Root, p) }
	may := float64(len(cores))
	set := ""
	if l.v2 != "" {
		set = l.v2 + "/cpuset.cpus.effective"
	} else if l.cpuset != "" {
		set = l.cpuset + "/cpuset.cpus"
	}
	var allowed map[int]bool
	if set != "" {
		if b, err := r.file.Read(root(set)); err == nil {
			allowed = parseCPUList(string(b))
		}
	}
	own := 0
	for _, c := range cores {
		if allowed[c.number] {
			own++
		}
	}
	if own > 0 && own < len(cores) {
		may = float64(own)
		if len(h.Cores) == len(cores) {
			i := 0
			h.Cores = slices.DeleteFunc(h.Cores, func(float64) bool { i++; return !allowed[cores[i-1].number] })
		}
	}
	if q, ok := r.quota(root); ok && q < may {
		may = q
	}
	if len(cores) == 0 || may >= float64(len(cores)) {
		l.known = false
		return
	}
	h.Container = true
	h.CPU = nil
	used, ok := r.cpuUsage(root)
	if !ok {
		l.known = false
		return
	}
	if l.known && used >= l.usage && passed > 0 {
		h.CPU = ptr(min(100, 100*float64(used-l.usage)/float64(passed)/may))
	}
	l.usage, l.known = used, true
}

// quota is how many processors' worth of time the container may use.
func (r *Reader) quota(root func(string) string) (float64, bool) {
	l := &r.os.limits
	var quota, period uint64
	var ok bool
	if l.v2 != "" {
		b, err := r.file.Read(root(l.v2 + "/cpu.max"))
		if err != nil {
			return 0, false
		}
		q, rest := procfile.Next(b)
		p, _ := procfile.Next(rest)
		if quota, ok = procfile.Uint(q); !ok {
			return 0, false
		}
		period, ok = procfile.Uint(p)
	} else if l.cpu != "" {
		if quota, ok = r.number(root(l.cpu + "/cpu.cfs_quota_us")); !ok { // -1: none
			return 0, false
		}
		period, ok = r.number(root(l.cpu + "/cpu.cfs_period_us"))
	}
	if !ok || quota == 0 || period == 0 {
		return 0, false
	}
	return float64(quota) / float64(period), true
}

func (r *Reader) cpuUsage(root func(string) string) (time.Duration, bool) {
	l := &r.os.limits
	if l.v2 != "" {
		b, err := r.file.Read(root(l.v2 + "/cpu.stat"))
		if err != nil {
			return 0, false
		}
		var usec uint64
		found := false
		procfile.Keyed(b, func(k []byte, v uint64) {
			if string(k) == "usage_usec" {
				usec, found = v, true
			}
		})
		return time.Duration(usec) * time.Microsecond, found && usec < 1<<53
	}
	if l.cpuacct == "" {
		return 0, false
	}
	n, ok := r.number(root(l.cpuacct + "/cpuacct.usage"))
	return time.Duration(n), ok && n < 1<<62
}

// pressure reads three PSI files.
func (r *Reader) pressure(dir, cpu, mem, io string) (gpu.Pressure, bool) {
	var p gpu.Pressure
	for name, v := range map[string]*float64{cpu: &p.CPU, mem: &p.Memory, io: &p.IO} {
		b, err := r.file.Read(dir + name)
		if err != nil {
			return p, false
		}
		f, ok := parsePressure(b)
		if !ok {
			return p, false
		}
		*v = f
	}
	return p, true
}
