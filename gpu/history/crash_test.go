package history

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain plays the program that is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("BERTH_TEST_HISTORY"); path != "" {
		from, _ := strconv.ParseInt(os.Getenv("BERTH_TEST_FROM"), 10, 64)
		h := Open(path, nil)
		for i := from; ; i++ {
			at := begin().Add(time.Duration(i) * time.Second)
			g := 2
			if i%500 > 250 {
				g = 4 // now and then it is made anew
			}
			if i == from {
				g = int(2 + from%7)
			}
			if err := h.Append(sample(at, g, 2, 1, 1, float64(i%100))); err != nil {
				os.Exit(3)
			}
		}
	}
	os.Exit(m.Run())
}

// TestKilledAtAnyMoment: whatever was cut off, what is read is what was written.
func TestKilledAtAnyMoment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h")
	next := int64(0)
	var kept [3]int
	for n := 0; n < 12 || kept[0] == 0; n++ { // a slow machine gets more tries
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "BERTH_TEST_HISTORY="+path, "BERTH_TEST_FROM="+strconv.FormatInt(next, 10))
		require.NoError(t, cmd.Start())
		time.Sleep(time.Duration(20+rand.IntN(120)) * time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		require.Equal(t, -1, cmd.ProcessState.ExitCode(), "it was killed, it did not fail")
		if _, err := os.Stat(path); err != nil {
			continue // killed before it had made one
		}
		h := Open(path, func() time.Time { return begin().Add(2000 * time.Hour) })
		require.NoError(t, h.Problem())
		last := begin()
		for ring := range h.st.rings {
			rows := 0
			require.NoError(t, h.st.rows(ring, nil, func(_ int64, seq uint64, at uint32, row []byte) {
				rows++
				if ring > 0 {
					return
				}
				for _, e := range h.st.entries {
					if e.kind == gpus && seq >= e.from && seq <= e.to {
						u := percent.get(row[h.st.lay.offset[gpus]+e.slot*h.st.lay.width[gpus]:])
						if u == u {
							require.InDelta(t, float64((int64(at)-begin().Unix())%100), u, 0.002)
						}
					}
				}
				if ts := time.Unix(int64(at), 0); ts.After(last) {
					last = ts
				}
			}))
			kept[ring] = rows
		}
		require.NoError(t, h.Close())
		next = int64(last.Sub(begin()).Seconds()) + 1
	}
	t.Logf("%d seconds in 12 lives; rows %v", next, kept)
}

// FuzzFile damages a file anywhere: what is left is read, or it is put aside.
func FuzzFile(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "good")
	h := Open(path, begin)
	for i := range 200 {
		if err := h.Append(sample(begin().Add(time.Duration(i)*10*time.Second), 1, 1, 1, 1, 50)); err != nil {
			f.Fatal(err)
		}
	}
	rings := h.st.rings
	if err := h.Close(); err != nil {
		f.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(f, err)
	f.Cleanup(func() { _ = file.Close() })
	for i, at := range []int64{0, 8, 12, 14, headerSize, headerSize + 8, headerSize + 16, headerSize + tableSize + 16,
		rings[1].at, rings[1].at + 4, rings[2].at + 12} {
		f.Add(at, []byte{byte(i), 0xff, 3})
	}
	f.Fuzz(func(t *testing.T, at int64, b []byte) {
		end := rings[1].at + 100_000 // where there is something
		if at < 0 || len(b) == 0 || len(b) > 4096 {
			return
		}
		at %= end
		before := make([]byte, len(b))
		_, err := file.ReadAt(before, at)
		require.NoError(t, err)
		_, err = file.WriteAt(b, at)
		require.NoError(t, err)
		defer func() {
			_, err := file.WriteAt(before, at)
			require.NoError(t, err)
		}()
		s, err := load(file)
		if err != nil {
			return
		}
		h := &History{now: begin, path: path}
		h.use(s)
		list, err := h.Series(Query{Since: begin(), Until: begin().Add(time.Hour)})
		require.NoError(t, err)
		for _, s := range list {
			for _, p := range s.Points {
				require.LessOrEqual(t, p.Mean, p.Max)
			}
		}
	})
}

// month is a file with 30 days of a host with 8 GPUs.
func month(b *testing.B) (*History, *testClock) {
	c := &testClock{begin()}
	h := open(b, filepath.Join(b.TempDir(), "h"), c)
	s := sample(c.t, 8, 10, 4, 10, 50)
	for range 43200 {
		c.t = c.t.Add(time.Minute)
		s.SampledAt = c.t
		if err := h.Append(s); err != nil {
			b.Fatal(err)
		}
	}
	return h, c
}

func BenchmarkMonthOfOneGPU(b *testing.B) {
	query(b, Query{Metrics: []string{"gpu_utilization_percent"}, Subject: "GPU-3"})
}

func BenchmarkMonthOfOneMetric(b *testing.B) {
	query(b, Query{Metrics: []string{"gpu_utilization_percent"}})
}

func BenchmarkMonthOfAll(b *testing.B) { query(b, Query{}) }

func query(b *testing.B, q Query) {
	h, c := month(b)
	q.Since = c.t.Add(-30 * 24 * time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		s, err := h.Series(q)
		if err != nil || len(s) == 0 {
			b.Fatal(s, err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	h, c := month(b)
	_ = h.Close()
	for b.Loop() {
		h := Open(h.path, func() time.Time { return c.t })
		if h.Problem() != nil {
			b.Fatal(h.Problem())
		}
		_ = h.Close()
	}
}

func BenchmarkAppend(b *testing.B) {
	c := &testClock{begin()}
	h := open(b, filepath.Join(b.TempDir(), "h"), c)
	s := sample(c.t, 8, 10, 4, 10, 50)
	b.ReportAllocs()
	for b.Loop() {
		c.t = c.t.Add(time.Second)
		s.SampledAt = c.t
		_ = h.Append(s)
	}
}
