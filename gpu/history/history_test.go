package history

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"berth/gpu"
)

func p[T any](v T) *T { return &v }

// sample is a host with so many of each, whose figures all are v or made of it.
func sample(at time.Time, g, d, n, b int, v float64) *gpu.Sample {
	s := &gpu.Sample{SampledAt: at}
	s.CPU, s.MemoryUsed, s.Load1 = p(v), p(int64(v*1e9)), p(v/10)
	s.Pressure = &gpu.Pressure{CPU: v, Memory: v, IO: v}
	for i := range g {
		s.GPUs = append(s.GPUs, gpu.GPU{Index: i, UUID: fmt.Sprintf("GPU-%d", i), Utilization: p(v),
			MemoryUsed: p(int64(v * 1e9)), Temperature: p(v), Power: p(v * 7), SMClock: p(v * 19), PCIeRx: p(int64(v * 1e8))})
	}
	for i := range d {
		s.Disks = append(s.Disks, gpu.Disk{Mount: fmt.Sprintf("/disk%d", i), Used: p(int64(v * 1e9)),
			Available: p(int64((100 - v) * 1e9)), InodesUsed: p(v)})
	}
	for i := range n {
		s.Networks = append(s.Networks, gpu.Network{Name: fmt.Sprintf("eth%d", i), Rx: p(int64(v * 1e6)), Tx: p(int64(v))})
	}
	for i := range b {
		s.Devices = append(s.Devices, gpu.BlockRate{Name: fmt.Sprintf("nvme%d", i), Read: p(int64(v * 1e6)),
			Write: p(int64(v)), Busy: p(v)})
	}
	return s
}

func begin() time.Time { return time.Unix(1_790_000_040, 0).UTC() } // at the beginning of a minute

type testClock struct{ t time.Time }

func open(t testing.TB, path string, c *testClock) *History {
	t.Helper()
	h := Open(path, func() time.Time { return c.t })
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func one(t testing.TB, h *History, q Query) gpu.Series {
	t.Helper()
	s, err := h.Series(q)
	require.NoError(t, err)
	require.Len(t, s, 1)
	return s[0]
}

func TestResolutionsMeansAndMaxima(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "history")
	c := &testClock{begin()}
	h := open(t, path, c)
	// An hour watched: 0 to 59 in each minute.
	for i := range 3600 {
		c.t = begin().Add(time.Duration(i) * time.Second)
		require.NoError(t, h.Append(sample(c.t, 2, 1, 1, 1, float64(i%60))))
	}
	require.NoError(t, h.Problem())
	check := func(h *History) {
		t.Helper()
		s := one(t, h, Query{Metrics: []string{"gpu_utilization_percent"}, Subject: "GPU-1",
			Since: c.t.Add(-10 * time.Minute)})
		require.Equal(t, 1.0, s.Step)
		require.Len(t, s.Points, 601)
		require.Equal(t, 1, *s.Index)
		for i, pt := range s.Points {
			require.Equal(t, c.t.Add(time.Duration(i-600)*time.Second), pt.At)
			require.InDelta(t, float64(pt.At.Unix()%60), pt.Mean, 0.002)
		}
		s = one(t, h, Query{Metrics: []string{"cpu_percent"}, Since: begin()})
		require.Equal(t, 10.0, s.Step, "3600 single seconds are more than 1000 points, and reach back 15 minutes")
		require.Len(t, s.Points, 360)
		require.InDelta(t, 4.5, s.Points[0].Mean, 0.002)
		require.InDelta(t, 9, s.Points[0].Max, 0.002)
		s = one(t, h, Query{Metrics: []string{"memory_used_bytes"}, Since: begin(), Points: 60})
		require.Equal(t, 60.0, s.Step)
		require.Len(t, s.Points, 60)
		require.InDelta(t, 29.5e9, s.Points[59].Mean, 1e4, "the minute under way")
		require.InDelta(t, 59e9, s.Points[0].Max, 1e4)
		s = one(t, h, Query{Metrics: []string{"disk_used_percent"}, Since: begin(), Points: 10})
		require.Equal(t, 600.0, s.Step)
		require.InDelta(t, 29.5, s.Points[0].Mean, 0.01)
		all, err := h.Series(Query{Since: begin()})
		require.NoError(t, err)
		seen := map[string]bool{}
		for _, s := range all {
			require.NotEmpty(t, s.Points)
			seen[s.Metric] = true
		}
		require.Equal(t, "gpu_utilization_percent", all[0].Metric)
		for _, m := range []string{"load1", "pressure_io_percent", "disk_inodes_used_percent", "network_rx_bytes_per_second",
			"disk_busy_percent"} {
			require.True(t, seen[m], m)
		}
		require.False(t, seen["swap_used_bytes"], "what was never measured is not there")
	}
	check(h)
	require.NoError(t, h.Close())
	check(open(t, path, c)) // and again from the file
	_, err := h.Series(Query{Metrics: []string{"cpu"}})
	require.ErrorIs(t, err, ErrMetric)
	require.ErrorContains(t, err, `"cpu"`)
}

func TestEveryMetricIsKept(t *testing.T) {
	kept := map[string]string{derived: gpu.KindDisk}
	for k, cols := range columns() {
		for _, c := range cols {
			kept[c.metric] = kindName(k)
		}
	}
	want := map[string]string{}
	for _, m := range gpu.Metrics() {
		want[m.Name] = m.Kind
	}
	require.Equal(t, want, kept)
}

func TestGapsStayGaps(t *testing.T) {
	c := &testClock{begin()}
	h := open(t, filepath.Join(t.TempDir(), "h"), c)
	put := func(from, to int, v float64, g int) {
		for i := from; i < to; i += 10 {
			c.t = begin().Add(time.Duration(i) * time.Second)
			require.NoError(t, h.Append(sample(c.t, g, 1, 1, 1, v)))
		}
	}
	put(0, 600, 10, 1)
	put(1200, 1800, 20, 0) // ten minutes away; and the GPU is lost
	put(1800, 2400, 30, 1)
	s := one(t, h, Query{Metrics: []string{"cpu_percent"}, Since: begin()})
	require.Len(t, s.Points, 180)
	require.Equal(t, 600*time.Second+10*time.Second, s.Points[60].At.Sub(s.Points[59].At))
	s = one(t, h, Query{Metrics: []string{"gpu_power_watts"}, Since: begin()})
	require.Len(t, s.Points, 120)
	require.InDelta(t, 70, s.Points[59].Mean, 0.1)
	require.InDelta(t, 210, s.Points[60].Mean, 0.1)
	// Nobody watched: a short question has the 10 s that there are.
	s = one(t, h, Query{Metrics: []string{"cpu_percent"}, Since: c.t.Add(-5 * time.Minute)})
	require.Equal(t, 10.0, s.Step)
	require.Len(t, s.Points, 31)
}

// Where nobody watched for a while among single seconds, the rows of 10 s stand for theirs; where nothing was
// measured there is a gap.
func TestSecondsAreCompletedByTenSeconds(t *testing.T) {
	c := &testClock{t: begin()}
	h := open(t, filepath.Join(t.TempDir(), "history"), c)
	measure := func(every time.Duration, n int) {
		for range n {
			require.NoError(t, h.Append(sample(c.t, 1, 1, 1, 1, 50)))
			c.t = c.t.Add(every)
		}
	}
	measure(time.Second, 400)
	measure(10*time.Second, 12) // nobody watches
	c.t = c.t.Add(100 * time.Second)
	measure(time.Second, 200)
	s := one(t, h, Query{Metrics: []string{"gpu_temperature_celsius"}, Since: begin(), Points: 1000})
	require.Equal(t, 1.0, s.Step)
	have := map[int64]bool{}
	for _, p := range s.Points {
		have[p.At.Unix()-begin().Unix()] = true
	}
	for _, at := range []int64{1, 399, 405, 450, 515, 625, 800} {
		require.True(t, have[at], "%d s", at)
	}
	for at := int64(530); at < 620; at++ {
		require.False(t, have[at], "%d s: nothing was measured", at)
	}
}

func TestSizeIsBoundedAndAllocated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h")
	c := &testClock{begin()}
	h := open(t, path, c)
	require.NoError(t, h.Append(sample(c.t, 8, 10, 4, 10, 1)))
	fi, err := os.Stat(path)
	require.NoError(t, err)
	require.LessOrEqual(t, fi.Size(), int64(32_000_000))
	require.GreaterOrEqual(t, fi.Sys().(*syscall.Stat_t).Blocks*512, fi.Size(), "all of it is taken now")
	require.EqualValues(t, 0o600, fi.Mode().Perm())
	for i := range 5000 {
		c.t = c.t.Add(37 * time.Second)
		require.NoError(t, h.Append(sample(c.t, 8, 10, 4, 10, float64(i%100))))
	}
	after, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fi.Size(), after.Size())
	t.Logf("%.1f MB", float64(fi.Size())/1e6)
}

func TestSubjectsComeAndGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h")
	c := &testClock{begin()}
	h := open(t, path, c)
	tick := func(mounts []string, g int, v float64) {
		for range 12 {
			s := sample(c.t, g, 0, 0, 0, v)
			for _, m := range mounts {
				s.Disks = append(s.Disks, gpu.Disk{Mount: m, Used: p(int64(v * 1e9)), Available: p(int64(1e9))})
			}
			require.NoError(t, h.Append(s))
			c.t = c.t.Add(10 * time.Second)
		}
	}
	value := func(subject, metric string) []float64 {
		s, err := h.Series(Query{Metrics: []string{metric}, Subject: subject, Since: begin(), Points: 5000})
		require.NoError(t, err)
		if len(s) == 0 {
			return nil
		}
		var out []float64
		last := math.NaN()
		for _, pt := range s[0].Points {
			if math.Abs(pt.Mean-last) > 1e6 || math.IsNaN(last) {
				out = append(out, math.Round(pt.Mean/1e9))
			}
			last = pt.Mean
		}
		return out
	}
	// More sticks, one after the other, than there are slots: each keeps what it had.
	for i := range 10 {
		tick([]string{"/", fmt.Sprintf("/stick%d", i)}, 0, float64(i+1))
	}
	tick([]string{"/", "/stick0"}, 0, 77)
	require.Less(t, int(h.st.lay.cap[disks]), 10)
	check := func() {
		t.Helper()
		require.Equal(t, []float64{1, 77}, value("/stick0", "disk_used_bytes"))
		for i := 1; i < 10; i++ {
			require.Equal(t, []float64{float64(i + 1)}, value(fmt.Sprintf("/stick%d", i), "disk_used_bytes"))
		}
		require.Equal(t, []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 77}, value("/", "disk_used_bytes"))
	}
	check()
	// The driver is installed now: the file is made anew for 8 GPUs, with all its rows.
	tick([]string{"/"}, 8, 50)
	require.EqualValues(t, 8, h.st.lay.cap[gpus])
	require.Equal(t, []float64{50}, value("GPU-7", "gpu_memory_used_bytes"))
	require.NoError(t, h.Close())
	h = open(t, path, c)
	require.NoError(t, h.Problem())
	require.Equal(t, []float64{1, 77}, value("/stick0", "disk_used_bytes"))
	require.Equal(t, []float64{50}, value("GPU-7", "gpu_memory_used_bytes"))
	// A subject whose name is longer than the table holds is still one of its own.
	long := "/" + string(make([]byte, 400))
	tick([]string{long + "a"}, 0, 3)
	tick([]string{long + "b"}, 0, 4)
	require.Equal(t, []float64{3}, value(long+"a", "disk_used_bytes"))
	// So many that the table of subjects is full: the oldest are forgotten.
	for i := range 2 * maxEntries {
		s := sample(c.t, 0, 0, 0, 0, 1)
		s.Disks = []gpu.Disk{{Mount: fmt.Sprintf("/m%d", i), Used: p(int64(1)), Available: p(int64(1))}}
		require.NoError(t, h.Append(s))
		c.t = c.t.Add(10 * time.Second)
	}
	require.Len(t, h.st.entries, maxEntries)
	require.NotNil(t, h.st.find(host, ""))
	require.NoError(t, h.Close())
	h = open(t, path, c)
	require.NoError(t, h.Problem())
	require.NotNil(t, h.st.find(disks, fmt.Sprintf("/m%d", 2*maxEntries-1)))
}

func TestClockJumps(t *testing.T) {
	c := &testClock{begin()}
	h := open(t, filepath.Join(t.TempDir(), "h"), c)
	run := func(n int, v float64) {
		for range n {
			require.NoError(t, h.Append(sample(c.t, 0, 0, 0, 0, v)))
			c.t = c.t.Add(10 * time.Second)
		}
	}
	run(60, 10)
	c.t = c.t.Add(100 * 24 * time.Hour) // the clock is wrong
	run(30, 99)
	c.t = begin().Add(15 * time.Minute) // and set right
	run(60, 20)
	s := one(t, h, Query{Metrics: []string{"cpu_percent"}, Since: begin()})
	for _, pt := range s.Points {
		require.Less(t, pt.Mean, 21.0, "what was written with the wrong clock is not in the past")
	}
	require.Len(t, s.Points, 120)
	c.t = c.t.Add(-10 * time.Minute) // back again: two values for the same time are one point
	run(6, 40)
	s = one(t, h, Query{Metrics: []string{"cpu_percent"}, Since: begin(), Until: begin().Add(time.Hour), Points: 100})
	for i := 1; i < len(s.Points); i++ {
		require.True(t, s.Points[i].At.After(s.Points[i-1].At))
	}
	require.NoError(t, h.Append(&gpu.Sample{})) // a clock before 1970: nothing to be kept by
}

func TestTornRowsAreGaps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h")
	c := &testClock{begin()}
	h := open(t, path, c)
	for range 600 {
		require.NoError(t, h.Append(sample(c.t, 1, 1, 1, 1, 33)))
		c.t = c.t.Add(10 * time.Second)
	}
	lay, at := h.st.lay, h.st.rings[1].at
	require.NoError(t, h.Close())
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	for i := range 50 { // fifty rows are torn somewhere
		_, err = f.WriteAt([]byte{1, 2, 3}, at+int64(i*11*lay.row)+rand.Int64N(int64(lay.row-3)))
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
	h = open(t, path, c)
	s := one(t, h, Query{Metrics: []string{"cpu_percent"}, Since: begin(), Points: 5000})
	require.Len(t, s.Points, 600-50)
	for _, pt := range s.Points {
		require.InDelta(t, 33, pt.Mean, 0.01)
	}
	// One copy of the table is enough.
	gen := h.st.gen
	require.NoError(t, h.Close())
	f, err = os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("garbage"), headerSize+int64((gen+1)%2)*tableSize+20)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	h = open(t, path, c)
	require.NoError(t, h.Problem())
	require.Len(t, one(t, h, Query{Metrics: []string{"cpu_percent"}, Since: begin(), Points: 5000}).Points, 550)
}

func TestFilesThatAreNoHistory(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "h")
	c := &testClock{begin()}
	h := open(t, whole, c)
	require.NoError(t, h.Append(sample(c.t, 1, 1, 1, 1, 1)))
	require.NoError(t, h.Close())
	good, err := os.ReadFile(whole)
	require.NoError(t, err)
	version := append([]byte{}, good...)
	version[8] = 99
	for name, content := range map[string][]byte{"empty": {}, "text": []byte("hello\n"), "truncated": good[:len(good)/2],
		"header only": good[:headerSize], "another version": version} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "h")
			require.NoError(t, os.WriteFile(path, content, 0o600))
			h := open(t, path, c)
			require.NoError(t, h.Append(sample(c.t, 1, 1, 1, 1, 1)))
			require.ErrorContains(t, h.Problem(), path+".aside")
			aside, err := os.ReadFile(path + ".aside")
			require.NoError(t, err)
			require.Equal(t, content, append([]byte{}, aside...))
			require.NoError(t, h.Close())
			h = open(t, path, c)
			require.NoError(t, h.Problem())
			require.NotEmpty(t, one(t, h, Query{Metrics: []string{"cpu_percent"}, Since: c.t.Add(-time.Minute)}).Points)
		})
	}
}

func TestOnlyOneHasTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h")
	c := &testClock{begin()}
	a := open(t, path, c)
	require.NoError(t, a.Append(sample(c.t, 1, 1, 1, 1, 10)))
	b := open(t, path, c)
	require.ErrorContains(t, b.Append(sample(c.t, 1, 1, 1, 1, 20)), "another agent")
	require.ErrorContains(t, b.Problem(), "in memory")
	require.NotEmpty(t, one(t, b, Query{Metrics: []string{"cpu_percent"}, Since: c.t.Add(-time.Minute)}).Points)
	require.NoError(t, a.Close())
	// The other is gone: what was in memory goes into the file, beside what is there.
	c.t = c.t.Add(time.Minute)
	b.tried = b.tried.Add(-retry)
	require.NoError(t, b.Append(sample(c.t, 1, 1, 1, 1, 30)))
	require.NoError(t, b.Problem())
	s := one(t, b, Query{Metrics: []string{"cpu_percent"}, Since: begin().Add(-time.Minute), Points: 100})
	require.InDelta(t, 10, s.Points[0].Mean, 0.01)
	require.InDelta(t, 30, s.Points[len(s.Points)-1].Mean, 0.01)
}

func TestEncodings(t *testing.T) {
	b := make([]byte, 4)
	for _, c := range []struct {
		e    encoding
		v, d float64
	}{
		{percent, 99.99, 0.001}, {percent, 0, 0}, {tenths, 1980, 0.05}, {celsius, -12.34, 0.005}, {celsius, 83, 0.005},
		{rate, 2047, 0}, {rate, 1e9, 5e5},
		{rate, 4e12, 2.1e9}, {hundredths, 0.52, 0}, {size, 1e12, 65536}, {size, 0, 0},
	} {
		c.e.put(b, c.v)
		require.InDelta(t, c.v, c.e.get(b), c.d, "%v", c)
		c.e.put(b, math.NaN())
		require.True(t, math.IsNaN(c.e.get(b)))
	}
	last := 0.0
	for v := 0.0; v < 1e14; v = v*1.01 + 1 { // it never goes down, and never means "not measured"
		rate.put(b, v)
		got := rate.get(b)
		require.False(t, math.IsNaN(got))
		require.GreaterOrEqual(t, got, last)
		last = got
	}
}

// TestFullDisk uses a small tmpfs: the file can't be made, then it can; and once it is there a full disk is no matter.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to mount something")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("can't mount here: %s", out)
	}
	t.Cleanup(func() { require.NoError(t, exec.Command("umount", "-l", dir).Run()) })
	ballast := filepath.Join(dir, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 40<<20), 0o600))
	c := &testClock{begin()}
	path := filepath.Join(dir, "h")
	h := open(t, path, c)
	require.ErrorIs(t, h.Append(sample(c.t, 8, 10, 4, 10, 10)), syscall.ENOSPC)
	require.ErrorContains(t, h.Problem(), "in memory")
	for range 120 {
		c.t = c.t.Add(10 * time.Second)
		require.Error(t, h.Append(sample(c.t, 8, 10, 4, 10, 10)))
	}
	_, err := os.Stat(path + ".new")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.Remove(ballast))
	h.tried = h.tried.Add(-retry)
	c.t = c.t.Add(10 * time.Second)
	require.NoError(t, h.Append(sample(c.t, 8, 10, 4, 10, 10)))
	require.NoError(t, h.Problem())
	require.Len(t, one(t, h, Query{Metrics: []string{"gpu_power_watts"}, Subject: "GPU-7", Since: begin()}).Points, 122,
		"what was in memory is in the file")

	f, err := os.Create(ballast)
	require.NoError(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 1<<20))
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
	for range 3000 {
		c.t = c.t.Add(10 * time.Second)
		require.NoError(t, h.Append(sample(c.t, 8, 10, 4, 10, 20)))
	}
	// More GPUs than the file has room for, and no space for a larger one: the others go on.
	c.t = c.t.Add(10 * time.Second)
	require.ErrorIs(t, h.Append(sample(c.t, 12, 10, 4, 10, 30)), syscall.ENOSPC)
	c.t = c.t.Add(10 * time.Second)
	require.Error(t, h.Append(sample(c.t, 12, 10, 4, 10, 30)))
	require.ErrorContains(t, h.Problem(), "no room")
	require.NoError(t, h.Close())
	h = open(t, path, c)
	require.NoError(t, h.Problem())
	s := one(t, h, Query{Metrics: []string{"gpu_power_watts"}, Subject: "GPU-7", Since: c.t.Add(-5 * time.Minute)})
	require.InDelta(t, 210, s.Points[len(s.Points)-1].Mean, 1)
}

func TestRemovedFileIsMadeAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "h")
	c := &testClock{begin()}
	h := open(t, path, c)
	for range 20 {
		require.NoError(t, h.Append(sample(c.t, 1, 1, 1, 1, 10)))
		c.t = c.t.Add(10 * time.Second)
	}
	require.NoError(t, os.RemoveAll(filepath.Dir(path)))
	require.NoError(t, h.Append(sample(c.t, 1, 1, 1, 1, 10)))
	h.tried = h.tried.Add(-retry)
	c.t = c.t.Add(10 * time.Second)
	require.NoError(t, h.Append(sample(c.t, 1, 1, 1, 1, 10)))
	require.NoError(t, h.Close())
	require.Len(t, one(t, open(t, path, c), Query{Metrics: []string{"cpu_percent"}, Since: begin()}).Points, 22)
}

// TestAnyQuestion: an answer has no more points than asked for, in order, within the time, on its steps.
func TestAnyQuestion(t *testing.T) {
	c := &testClock{begin()}
	h := open(t, filepath.Join(t.TempDir(), "h"), c)
	for i := range 20000 {
		c.t = c.t.Add(time.Duration(1+i%3*9) * time.Second)
		require.NoError(t, h.Append(sample(c.t, 2, 2, 1, 1, float64(i%100))))
	}
	rapid.Check(t, func(r *rapid.T) {
		since := rapid.Int64Range(begin().Unix()-100000, c.t.Unix()+100000).Draw(r, "since")
		until := rapid.Int64Range(since-10, since+40*86400).Draw(r, "until")
		points := rapid.IntRange(2, 3000).Draw(r, "points")
		list, err := h.Series(Query{Since: time.Unix(since, 0), Until: time.Unix(until, 0), Points: points})
		require.NoError(r, err)
		for _, s := range list {
			require.LessOrEqual(r, len(s.Points), points)
			for i, p := range s.Points {
				require.Zero(r, p.At.Unix()%int64(s.Step))
				require.LessOrEqual(r, p.At.Unix(), until)
				require.Greater(r, p.At.Unix(), since-int64(s.Step))
				require.LessOrEqual(r, p.Mean, p.Max)
				require.True(r, i == 0 || p.At.After(s.Points[i-1].At))
			}
		}
	})
}
