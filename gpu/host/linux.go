//go:build linux

package host

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"berth/gpu"
	"berth/gpu/host/procfile"
)

// system is what is remembered between two readings.
type system struct {
	at      time.Duration
	known   bool
	all     cpuTimes
	cores   []core
	before  []core
	swap    [2]uint64
	hasSwap bool
	net     table
	blk     table
	limits  limits
	mounts  mountWatch
	page    uint64
	noPSI   bool
}

// table are the counters of interfaces or devices, now and before, and which of them are shown: by name, with rank.
type table struct {
	now, before []counters
	rank        map[string]int
	ranked      time.Duration
}

const rankAgain = time.Minute

func (s *system) init(r *Reader) {
	s.page = uint64(os.Getpagesize())
	mounts, _ := os.ReadFile(filepath.Join(r.o.Root, "/proc/self/mountinfo"))
	own, _ := os.ReadFile(filepath.Join(r.o.Root, "/proc/self/cgroup"))
	s.limits = findLimits(mounts, own)
	s.mounts.path = filepath.Join(r.o.Root, "/proc/self/mountinfo")
	if r.o.Mounts == nil {
		r.o.Mounts = s.mounts.list
	}
}

func (s *system) close() { s.mounts.close() }

func (r *Reader) read(path string) []byte {
	b, err := r.file.Read(r.o.Root + path)
	if err != nil {
		return nil // a kernel, or a container, without it: its figures are nil
	}
	return b
}

func (r *Reader) host() gpu.Host {
	var h gpu.Host
	s := &r.os
	now := r.o.Elapsed()
	passed := now - s.at
	if !s.known {
		passed = 0
	}
	r.cpu(&h)
	if f := parseFloats(r.read("/proc/loadavg"), 3); f != nil {
		h.Load1, h.Load5, h.Load15 = &f[0], &f[1], &f[2]
	}
	if f := parseFloats(r.read("/proc/uptime"), 1); f != nil {
		h.Uptime = f[0]
	}
	if !s.noPSI {
		if p, ok := r.pressure(r.o.Root+"/proc/pressure", "/cpu", "/memory", "/io"); ok {
			h.Pressure = &p
		} else {
			s.noPSI = true // it is switched on at boot, or not
		}
	}
	m, ok := parseMeminfo(r.read("/proc/meminfo"))
	if ok {
		h.MemoryTotal, h.MemoryAvailable = ptr(int64(m.total)), ptr(int64(m.available))
		h.MemoryUsed, h.MemoryCache = ptr(int64(m.total-m.available)), ptr(int64(m.cached))
		h.SwapTotal, h.SwapUsed = ptr(int64(m.swapTotal)), ptr(int64(m.swapTotal-m.swapFree))
	}
	r.swap(&h, m, passed)
	s.net.next(parseNetwork(r.read("/proc/net/dev"), s.net.spare()))
	s.net.choose(now, r.interfaceRank)
	s.net.each(func(c, b counters) {
		h.Networks = append(h.Networks, gpu.Network{Name: c.name, Rx: rate(b.in, c.in, 1, passed), Tx: rate(b.out, c.out, 1,
			passed)})
	}, func(c counters) { h.Networks = append(h.Networks, gpu.Network{Name: c.name}) })
	s.blk.next(parseDiskstats(r.read("/proc/diskstats"), s.blk.spare()))
	s.blk.choose(now, r.deviceRank)
	s.blk.each(func(c, b counters) {
		d := gpu.BlockRate{Name: c.name, Read: rate(b.in, c.in, 1, passed), Write: rate(b.out, c.out, 1, passed)}
		if c.busy >= b.busy && passed > 0 {
			d.Busy = ptr(min(100, 100*float64(c.busy-b.busy)/(1000*passed.Seconds())))
		}
		h.Devices = append(h.Devices, d)
	}, func(c counters) { h.Devices = append(h.Devices, gpu.BlockRate{Name: c.name}) })
	if ok {
		r.limit(&h, m, passed)
	}
	s.at, s.known = now, true
	return h
}

func (r *Reader) cpu(h *gpu.Host) {
	s := &r.os
	s.before, s.cores = s.cores, s.before
	before := s.all
	var ok bool
	s.all, s.cores, ok = parseCPU(r.read("/proc/stat"), s.cores)
	if !ok || !s.known {
		return
	}
	if d, total := s.all.since(before); total > 0 {
		h.CPU = ptr(d.busy(total))
		h.IOWait = ptr(100 * float64(d[cpuIOWait]) / float64(total))
		h.Steal = ptr(100 * float64(d[cpuSteal]) / float64(total))
	}
	// A core that came or went: there is nothing to compare it with, and the others would stand in its place.
	if !slices.EqualFunc(s.cores, s.before, func(a, b core) bool { return a.number == b.number }) {
		return
	}
	h.Cores = make([]float64, len(s.cores))
	for i, c := range s.cores {
		if d, total := c.times.since(s.before[i].times); total > 0 {
			h.Cores[i] = d.busy(total)
		}
	}
}

func (r *Reader) swap(h *gpu.Host, m memory, passed time.Duration) {
	s := &r.os
	if m.swapTotal == 0 {
		s.hasSwap = false
		return
	}
	var now [2]uint64
	procfile.Keyed(r.read("/proc/vmstat"), func(k []byte, v uint64) {
		switch string(k) {
		case "pswpin":
			now[0] = v
		case "pswpout":
			now[1] = v
		}
	})
	if s.hasSwap {
		h.SwapIn = rate(s.swap[0], now[0], float64(s.page), passed)
		h.SwapOut = rate(s.swap[1], now[1], float64(s.page), passed)
	}
	s.swap, s.hasSwap = now, true
}

func (t *table) spare() []counters { return t.before }

func (t *table) next(now []counters) { t.before, t.now = t.now, now }

// choose ranks what is shown: 0 first, negative not at all. It is done again when the list changes.
func (t *table) choose(now time.Duration, rank func(string) int) {
	same := slices.EqualFunc(t.now, t.before, func(a, b counters) bool { return a.name == b.name })
	if same && t.rank != nil && now-t.ranked < rankAgain {
		return
	}
	t.rank, t.ranked = map[string]int{}, now
	for _, c := range t.now {
		k := rank(c.name)
		if k > 0 && c.in == 0 && c.out == 0 {
			k = -1 // it never carried anything
		}
		t.rank[c.name] = k
	}
}

// each calls both for what was there before too, and single for what is new, in the order of their ranks.
func (t *table) each(both func(now, before counters), single func(counters)) {
	order := make([]counters, 0, len(t.now))
	for _, c := range t.now {
		if t.rank[c.name] >= 0 {
			order = append(order, c)
		}
	}
	slices.SortStableFunc(order, func(a, b counters) int { return t.rank[a.name] - t.rank[b.name] })
	for _, c := range order {
		i := slices.IndexFunc(t.before, func(b counters) bool { return b.name == c.name })
		if i < 0 {
			single(c)
			continue
		}
		both(c, t.before[i])
	}
}

// noise are interfaces that engines and hypervisors make: their traffic passes a real one too, or no wire at all.
var noise = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(lo|veth.*|docker\d+|docker_gwbridge|br-[0-9a-f]{12}|virbr\d.*|vnet\d+|tap.*|cni.*|cbr\d+|flannel.*|cali.*|cilium.*|lxc.*|kube-.*|nodelocaldns|podman\d+|ifb\d+|dummy\d+|sit\d+|tunl\d+|gre.*|erspan\d+|ip6tnl\d+|ip6gre\d+|ip6_vti\d+|ip_vti\d+|vxlan.*|macvtap.*|teql\d+|nlmon\d+)$`)
})

func (r *Reader) interfaceRank(name string) int {
	sys := r.o.Root + "/sys/class/net/" + name
	switch {
	case procfile.Exists(sys+"/master") && !procfile.Exists(sys+"/brport"):
		return -1 // part of a bond, or of a cloud's interface with two ways: its master has the same traffic
	case procfile.Exists(sys + "/device"):
		return 0
	case noise().MatchString(name):
		return -1
	}
	return 1 // a bond, a VLAN, a tunnel; in a container eth0
}

func (r *Reader) deviceRank(name string) int {
	for _, p := range []string{"loop", "ram", "zram", "sr", "fd", "nbd"} {
		if rest, ok := strings.CutPrefix(name, p); ok && strings.Trim(rest, "0123456789") == "" {
			return -1
		}
	}
	sys := r.o.Root + "/sys/block/" + strings.ReplaceAll(name, "/", "!")
	if !procfile.Exists(sys) {
		return -1 // a partition
	}
	if e, _ := os.ReadDir(sys + "/slaves"); len(e) > 0 {
		return -1 // made of others (LVM, RAID), which are shown
	}
	return 0
}

// mountWatch reads mountinfo again only when the kernel says that it changed, and once a minute.
type mountWatch struct {
	path  string
	fd    int
	open  bool
	last  []Mount
	at    time.Time
	valid bool
}

func (w *mountWatch) list() ([]Mount, error) {
	if !w.open {
		fd, err := unix.Open(w.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: w.path, Err: err}
		}
		w.fd, w.open = fd, true
	}
	p := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLPRI}}
	n, err := unix.Poll(p, 0)
	if w.valid && err == nil && n == 0 && time.Since(w.at) < time.Minute {
		return w.last, nil
	}
	b, err := os.ReadFile(w.path)
	if err != nil {
		return nil, err
	}
	w.last, w.at, w.valid = Visible(parseMountinfo(b)), time.Now(), true
	return w.last, nil
}

func (w *mountWatch) close() {
	if w.open {
		_ = unix.Close(w.fd)
		w.open = false
	}
}
