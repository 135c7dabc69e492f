package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// root makes a folder that looks like / to a Reader.
func root(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, files)
	return dir
}

func put(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for p, s := range files {
		p = filepath.Join(dir, p)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		if s == "/" {
			require.NoError(t, os.MkdirAll(p, 0o755))
			continue
		}
		require.NoError(t, os.WriteFile(p, []byte(s), 0o600))
	}
}

type clock struct {
	wall time.Time
	mono time.Duration
}

func (c *clock) pass(d time.Duration) { c.wall = c.wall.Add(d); c.mono += d }

func (c *clock) options(root string) Options {
	return Options{Root: root, Now: func() time.Time { return c.wall }, Elapsed: func() time.Duration { return c.mono }}
}

func newClock() *clock { return &clock{wall: time.Unix(1_790_000_000, 0)} }

const stat1 = "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 50 0 50 400 0 0 0 0 0 0\ncpu1 50 0 50 400 0 0 0 0 0 0\nintr 1\n"

func machine() map[string]string {
	return map[string]string{
		"proc/stat":                       stat1,
		"proc/loadavg":                    "0.50 1.25 2.00 1/80 1234\n",
		"proc/uptime":                     "1000.50 1900.00\n",
		"proc/pressure/cpu":               "some avg10=12.50 avg60=1.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		"proc/pressure/memory":            "some avg10=0.50 avg60=1.00 avg300=0.00 total=1\n",
		"proc/pressure/io":                "some avg10=3.00 avg60=1.00 avg300=0.00 total=1\n",
		"proc/meminfo":                    "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 600 kB\nBuffers: 50 kB\nCached: 400 kB\nSReclaimable: 10 kB\nSwapTotal: 500 kB\nSwapFree: 300 kB\n",
		"proc/vmstat":                     "pgpgin 5\npswpin 1000\npswpout 2000\n",
		"proc/net/dev":                    "Inter-|   Receive\n face |bytes\n    lo: 99 0 0 0 0 0 0 0 99 0 0 0 0 0 0 0\nveth1a2b: 5 0 0 0 0 0 0 0 5 0 0 0 0 0 0 0\n enP1: 10 0 0 0 0 0 0 0 10 0 0 0 0 0 0 0\n wg0: 10 0 0 0 0 0 0 0 10 0 0 0 0 0 0 0\n  eth0:1000 5 0 0 0 0 0 0 2000 5 0 0 0 0 0 0\n unused0: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
		"sys/class/net/enP1/device":       "/",
		"sys/class/net/enP1/master":       "/",
		"sys/class/net/eth0/brport":       "/",
		"sys/class/net/eth0/master":       "/",
		"sys/class/net/eth0/device":       "/",
		"proc/diskstats":                  "   7 0 loop0 9 9 9 9 9 9 9 9 9 9 9\n 259 0 nvme0n1 10 0 100 5 20 0 200 9 0 50 60\n 259 1 nvme0n1p1 1 1 1 1 1 1 1 1 1 1 1\n 253 0 dm-0 10 0 100 5 20 0 200 9 0 50 60\n",
		"sys/block/nvme0n1/slaves":        "/",
		"sys/block/loop0":                 "/",
		"sys/block/dm-0/slaves/nvme0n1p1": "/",
		"proc/self/mountinfo":             "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
		"proc/self/cgroup":                "0::/user.slice/session-1.scope\n",
	}
}

func TestHostFigures(t *testing.T) {
	c := newClock()
	dir := root(t, machine())
	r := New(c.options(dir))
	defer r.Close()
	h := r.Host()
	require.Nil(t, h.CPU, "one reading has no share")
	require.Nil(t, h.Networks[0].Rx)
	require.Nil(t, h.SwapIn)

	c.pass(2 * time.Second)
	c.wall = c.wall.Add(-48 * time.Hour) // the wall clock is set: rates are not by it
	put(t, dir, map[string]string{
		"proc/stat":      "cpu  150 0 110 880 40 0 0 20 0 0\ncpu0 100 0 60 400 40 0 0 0 0 0\ncpu1 50 0 50 480 0 0 0 20 0 0\n",
		"proc/vmstat":    "pswpin 1002\npswpout 2000\n",
		"proc/net/dev":   "  eth0:3000 5 0 0 0 0 0 0 2500 5 0 0 0 0 0 0\n wg0: 4 0 0 0 0 0 0 0 14 0 0 0 0 0 0 0\n",
		"proc/diskstats": "259 0 nvme0n1 10 0 300 5 20 0 204 9 0 1050 60\n",
	})
	h = r.Host()
	require.InDelta(t, 40, *h.CPU, 0.01) // 80 of 200
	require.InDelta(t, 20, *h.IOWait, 0.01)
	require.InDelta(t, 10, *h.Steal, 0.01)
	require.InDeltaSlice(t, []float64{60, 20}, h.Cores, 0.01)
	require.Equal(t, 0.5, *h.Load1)
	require.Equal(t, 1000.5, h.Uptime)
	require.Equal(t, 12.5, h.Pressure.CPU)
	require.Equal(t, 3.0, h.Pressure.IO)
	require.EqualValues(t, 400<<10, *h.MemoryUsed)
	require.EqualValues(t, 460<<10, *h.MemoryCache)
	require.EqualValues(t, 200<<10, *h.SwapUsed)
	require.EqualValues(t, os.Getpagesize(), *h.SwapIn)
	require.EqualValues(t, 0, *h.SwapOut)
	require.Len(t, h.Networks, 2)
	require.Equal(t, "eth0", h.Networks[0].Name)
	require.EqualValues(t, 1000, *h.Networks[0].Rx)
	require.EqualValues(t, 250, *h.Networks[0].Tx)
	require.Equal(t, "wg0", h.Networks[1].Name)
	require.Nil(t, h.Networks[1].Rx, "a counter that went backwards gives no rate")
	require.EqualValues(t, 2, *h.Networks[1].Tx)
	require.Len(t, h.Devices, 1)
	require.EqualValues(t, 200*512/2, *h.Devices[0].Read)
	require.EqualValues(t, 4*512/2, *h.Devices[0].Write)
	require.InDelta(t, 50, *h.Devices[0].Busy, 0.1)
	require.False(t, h.Container)

	// A core is taken away, an interface comes: no share is given to the wrong one.
	c.pass(time.Second)
	put(t, dir, map[string]string{
		"proc/stat":    "cpu  160 0 110 890 40 0 0 20 0 0\ncpu1 50 0 50 490 0 0 0 20 0 0\n",
		"proc/net/dev": "  ib0:3000 5 0 0 0 0 0 0 2500 5 0 0 0 0 0 0\n  eth0:3000 5 0 0 0 0 0 0 2500 5 0 0 0 0 0 0\n",
	})
	h = r.Host()
	require.Nil(t, h.Cores)
	require.NotNil(t, h.CPU)
	require.Equal(t, "eth0", h.Networks[0].Name)
	require.EqualValues(t, 0, *h.Networks[0].Rx)
	require.Nil(t, h.Networks[1].Rx)
}

func TestNothingToReadIsNotZero(t *testing.T) {
	r := New(Options{Root: t.TempDir()})
	defer r.Close()
	for range 2 {
		h := r.Host()
		require.Nil(t, h.CPU)
		require.Nil(t, h.MemoryTotal)
		require.Nil(t, h.Load1)
		require.Nil(t, h.Pressure)
		require.Empty(t, h.Networks)
	}
}

func TestContainerLimits(t *testing.T) {
	id := strings.Repeat("ab", 32)
	v2 := func(dir string) map[string]string {
		return map[string]string{
			dir + "/memory.max": "512000\n", dir + "/memory.current": "400000\n",
			dir + "/memory.stat":     "anon 100000\nfile 150000\nshmem 20000\nslab_reclaimable 10000\n",
			dir + "/memory.swap.max": "1000\n", dir + "/memory.swap.current": "10\n",
			dir + "/cpu.max": "50000 100000\n", dir + "/cpu.stat": "usage_usec 1000000\n",
			dir + "/cpu.pressure": "some avg10=1.00\n", dir + "/memory.pressure": "some avg10=2.00\n",
			dir + "/io.pressure": "some avg10=3.00\n",
		}
	}
	for name, c := range map[string]struct {
		own, mounts string
		files       map[string]string
		usage       map[string]string
	}{
		"v2 with a name space": {"0::/\n", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", v2("sys/fs/cgroup"),
			map[string]string{"sys/fs/cgroup/cpu.stat": "usage_usec 1250000\n"}},
		"v2 seen from the host": {"0::/system.slice/docker-" + id + ".scope\n",
			"30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", v2("sys/fs/cgroup/system.slice/docker-" + id + ".scope"),
			map[string]string{"sys/fs/cgroup/system.slice/docker-" + id + ".scope/cpu.stat": "usage_usec 1250000\n"}},
		"v1 bound in": {"5:memory:/docker/" + id + "\n4:cpu,cpuacct:/docker/" + id + "\n",
			"30 23 0:26 /docker/" + id + " /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n31 23 0:27 /docker/" + id +
				" /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n",
			map[string]string{"sys/fs/cgroup/memory/memory.limit_in_bytes": "512000\n",
				"sys/fs/cgroup/memory/memory.usage_in_bytes": "400000\n",
				"sys/fs/cgroup/memory/memory.stat":           "cache 1\ntotal_cache 160000\ntotal_shmem 20000\n",
				"sys/fs/cgroup/cpu/cpu.cfs_quota_us":         "50000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
				"sys/fs/cgroup/cpu/cpuacct.usage": "1000000000\n"},
			map[string]string{"sys/fs/cgroup/cpu/cpuacct.usage": "1250000000\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := machine()
			files["proc/self/cgroup"], files["proc/self/mountinfo"] = c.own, c.mounts
			for k, v := range c.files {
				files[k] = v
			}
			cl := newClock()
			dir := root(t, files)
			r := New(cl.options(dir))
			defer r.Close()
			h := r.Host()
			require.True(t, h.Container)
			require.EqualValues(t, 512000, *h.MemoryTotal)
			require.EqualValues(t, 140000, *h.MemoryCache)
			require.EqualValues(t, 260000, *h.MemoryUsed)
			require.EqualValues(t, 252000, *h.MemoryAvailable)
			require.Nil(t, h.CPU)
			cl.pass(time.Second)
			put(t, dir, c.usage)
			h = r.Host()
			require.InDelta(t, 50, *h.CPU, 0.01, "a quarter of a core, where half a one is allowed")
			if strings.HasPrefix(name, "v2") {
				require.EqualValues(t, 1000, *h.SwapTotal)
				require.Equal(t, 2.0, h.Pressure.Memory)
			}
		})
	}
	t.Run("no limit", func(t *testing.T) {
		files := machine()
		for k, v := range v2("sys/fs/cgroup/user.slice/session-1.scope") {
			files[k] = v // a limit of the agent's own slice is not the machine's
		}
		files["sys/fs/cgroup/memory.max"], files["sys/fs/cgroup/cpu.max"] = "max\n", "max 100000\n"
		r := New(Options{Root: root(t, files)})
		defer r.Close()
		h := r.Host()
		require.False(t, h.Container)
		require.EqualValues(t, 1000<<10, *h.MemoryTotal)
	})
	t.Run("some cores", func(t *testing.T) {
		files := machine()
		files["sys/fs/cgroup/cpuset.cpus.effective"] = "1\n"
		files["sys/fs/cgroup/cpu.stat"] = "usage_usec 0\n"
		c := newClock()
		dir := root(t, files)
		r := New(c.options(dir))
		defer r.Close()
		r.Host()
		c.pass(time.Second)
		put(t, dir, map[string]string{"sys/fs/cgroup/cpu.stat": "usage_usec 750000\n",
			"proc/stat": "cpu  200 0 100 900 0 0 0 0 0 0\ncpu0 50 0 50 500 0 0 0 0 0 0\ncpu1 150 0 50 400 0 0 0 0 0 0\n"})
		h := r.Host()
		require.InDeltaSlice(t, []float64{100}, h.Cores, 0.01)
		require.InDelta(t, 75, *h.CPU, 0.01)
	})
}

// TestAgainstFree compares with procps on this machine.
func TestAgainstFree(t *testing.T) {
	if _, err := exec.LookPath("free"); err != nil {
		t.Skip("needs free of procps")
	}
	r := New(Options{})
	defer r.Close()
	near := func(a, b int64) bool { return max(a-b, b-a) < 64<<20 }
	for try := 0; ; try++ {
		out, err := exec.Command("env", "LC_ALL=C", "free", "-b").Output()
		require.NoError(t, err)
		h := r.Host()
		if h.Container {
			t.Skip("free shows the machine, not this container")
		}
		f := strings.Fields(strings.Split(string(out), "\n")[1])
		num := func(i int) int64 { v, err := strconv.ParseInt(f[i], 10, 64); require.NoError(t, err); return v }
		require.Equal(t, num(1), *h.MemoryTotal)
		if near(num(6), *h.MemoryAvailable) && near(num(5), *h.MemoryCache) || try == 5 { // others run beside
			require.True(t, near(num(6), *h.MemoryAvailable), "%d, %d", num(6), *h.MemoryAvailable)
			require.True(t, near(num(5), *h.MemoryCache), "%d, %d", num(5), *h.MemoryCache)
			return
		}
	}
}

func FuzzProc(f *testing.F) {
	for _, s := range machine() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if all, cores, ok := parseCPU(b, nil); ok {
			if d, total := all.since(cpuTimes{}); total > 0 {
				v := d.busy(total)
				require.True(t, v >= 0 && v <= 100, "%v", v)
			}
			_ = cores
		}
		if m, ok := parseMeminfo(b); ok {
			require.LessOrEqual(t, m.available, m.total)
		}
		parseFloats(b, 3)
		if v, ok := parsePressure(b); ok {
			require.True(t, v >= 0 && v <= 100)
		}
		list := parseNetwork(b, nil)
		require.Len(t, parseNetwork(b, list), len(list))
		for _, c := range parseDiskstats(b, nil) {
			require.NotEmpty(t, c.name)
		}
		parseCPUList(string(b))
		findLimits(b, b)
	})
}

func BenchmarkHost(b *testing.B) {
	r := New(Options{})
	defer r.Close()
	b.ReportAllocs()
	for b.Loop() {
		r.Host()
	}
}

func BenchmarkDisks(b *testing.B) {
	r := New(Options{})
	defer r.Close()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = r.Disks(b.Context())
	}
}
