package attention

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"berth/gpu"
)

func ptr[T any](v T) *T { return &v }

var began = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

func builtin(t require.TestingT) *Engine {
	rules, err := Builtin()
	require.NoError(t, err)
	return New(rules)
}

// host is a sample of a host with one GPU and one disk on which all is well.
func host(at time.Duration) *gpu.Sample {
	return &gpu.Sample{SampledAt: began.Add(at), GPUSource: "nvml",
		GPUs: []gpu.GPU{{Index: 3, UUID: "GPU-1", Temperature: ptr(60.0), SlowdownTemperature: ptr(93.0),
			Throttle: []string{"idle", "power cap"}, MemoryUsed: ptr(int64(0)),
			ECC: &gpu.ECC{Uncorrected: ptr(int64(0)), RemapPending: ptr(false), RemapFailed: ptr(false)}}},
		Disks: []gpu.Disk{{Mount: "/", UsedPercent: ptr(40.0), InodesUsed: ptr(3.0)}},
		Host: gpu.Host{MemoryTotal: ptr(int64(100 << 30)), MemoryAvailable: ptr(int64(50 << 30)), SwapIn: ptr(int64(0)),
			SwapOut: ptr(int64(0))}}
}

// play gives an engine a sample each second from second from to second to and returns the last findings.
func play(e *Engine, from, to int, change func(*gpu.Sample)) []gpu.Finding {
	var out []gpu.Finding
	for i := from; i <= to; i++ {
		s := host(time.Duration(i) * time.Second)
		change(s)
		out = e.Check(s)
	}
	return out
}

func TestEachRule(t *testing.T) {
	for _, c := range []struct {
		id, severity, text string
		change             func(*gpu.Sample)
	}{
		{"gpu-lost:GPU-1", "critical", "fell off the bus", func(s *gpu.Sample) {
			s.GPUs[0] = gpu.GPU{Index: 3, UUID: "GPU-1", Error: "it fell off the bus"}
		}},
		{"gpu-figures", "warning", "mismatch",
			func(s *gpu.Sample) { s.GPUError = "driver/library version mismatch"; s.GPUsStaleSince = &began }},
		{"gpu-hot:GPU-1", "warning", "89 °C", func(s *gpu.Sample) { s.GPUs[0].Temperature = ptr(89.0) }},
		{"gpu-hot:GPU-1", "critical", "93 °C", func(s *gpu.Sample) { s.GPUs[0].Temperature = ptr(93.0) }},
		{"gpu-hot:GPU-1", "warning", "86 °C", func(s *gpu.Sample) {
			s.GPUs[0].Temperature, s.GPUs[0].SlowdownTemperature = ptr(86.0), nil
		}},
		{"gpu-throttled:GPU-1", "warning", "power brake",
			func(s *gpu.Sample) { s.GPUs[0].Throttle = []string{"power brake"} }},
		{"gpu-xid:GPU-1", "critical", "XID 79: it is off", func(s *gpu.Sample) {
			s.GPUs[0].LastXID = &gpu.XID{Code: 79, At: s.SampledAt, Meaning: "it is off", Advice: "do that",
				Severity: "critical"}
		}},
		{"gpu-xid:GPU-1", "warning", "XID 63", func(s *gpu.Sample) {
			s.GPUs[0].LastXID = &gpu.XID{Code: 63, At: s.SampledAt, Advice: "later", Severity: "warning"}
		}},
		{"gpu-ecc:GPU-1", "critical", "2 memory errors", func(s *gpu.Sample) { s.GPUs[0].ECC.Uncorrected = ptr(int64(2)) }},
		{"gpu-remap:GPU-1", "warning", "next reset", func(s *gpu.Sample) { s.GPUs[0].ECC.RemapPending = ptr(true) }},
		{"gpu-remap:GPU-1", "critical", "could not", func(s *gpu.Sample) { s.GPUs[0].ECC.RemapFailed = ptr(true) }},
		{"gpu-memory-held:GPU-1", "warning", "30 GiB", func(s *gpu.Sample) { s.GPUs[0].MemoryUsed = ptr(int64(30 << 30)) }},
		{"disk-full:/", "warning", "85% full", func(s *gpu.Sample) { s.Disks[0].UsedPercent = ptr(85.0) }},
		{"disk-full:/", "critical", "1.0 GiB left", func(s *gpu.Sample) {
			s.Disks[0].UsedPercent, s.Disks[0].Available = ptr(97.0), ptr(int64(1<<30))
		}},
		{"disk-filling:/", "warning", "about 4 hours", func(s *gpu.Sample) { s.Disks[0].FullIn = ptr(4 * 3600.0) }},
		{"disk-filling:/", "critical", "20 minutes", func(s *gpu.Sample) { s.Disks[0].FullIn = ptr(1200.0) }},
		{"disk-inodes:/", "warning", "90%", func(s *gpu.Sample) { s.Disks[0].InodesUsed = ptr(90.0) }},
		{"disk-hung:/", "warning", "10:00:00", func(s *gpu.Sample) { s.Disks[0].StaleSince = &began }},
		{"memory-full", "warning", "4.0 GiB of 100 GiB", func(s *gpu.Sample) { s.MemoryAvailable = ptr(int64(4 << 30)) }},
		{"swap-storm", "warning", "64 MiB/s", func(s *gpu.Sample) { s.SwapIn = ptr(int64(64 << 20)) }},
	} {
		e := builtin(t)
		require.Empty(t, play(e, 0, 300, func(*gpu.Sample) {}), "all is well")
		got := play(e, 301, 600, c.change)
		require.Len(t, got, 1, c.id)
		require.Equal(t, c.id, got[0].ID)
		require.Equal(t, c.severity, got[0].Severity, c.id)
		require.Contains(t, got[0].Text, c.text)
		require.NotEmpty(t, got[0].Advice, c.id)
		require.Equal(t, began.Add(301*time.Second), got[0].Since, "since it began, not since it was said")
		require.Empty(t, play(e, 601, 900, func(*gpu.Sample) {}), "%s is over", c.id)
	}
}

// TestUnifiedMemoryIsNobodysLeak has the host's memory in use, and no process on the GPU that shares it.
func TestUnifiedMemoryIsNobodysLeak(t *testing.T) {
	require.Empty(t, play(builtin(t), 0, 600, func(s *gpu.Sample) {
		s.GPUs[0].Unified, s.GPUs[0].MemoryUsed = true, ptr(int64(30<<30))
	}))
}

func TestAtTheLimitNothingFlickers(t *testing.T) {
	e := builtin(t)
	i := 0
	require.Len(t, play(e, 0, 300, func(s *gpu.Sample) { i++; s.Disks[0].UsedPercent = ptr(84.0 + float64(i%2)*0) }), 0)
	require.Len(t, play(e, 301, 330, func(s *gpu.Sample) { s.Disks[0].UsedPercent = ptr(85.5) }), 1)
	require.Len(t, play(e, 331, 600, func(s *gpu.Sample) { i++; s.Disks[0].UsedPercent = ptr(83.5 + 2*float64(i%2)) }), 1)
	e = builtin(t)
	require.Empty(t, play(e, 0, 600, func(s *gpu.Sample) { i++; s.Disks[0].UsedPercent = ptr(82.0 + 4*float64(i%2)) }),
		"it never lasts")
}

func TestWhatIsNotSeenStays(t *testing.T) {
	e := builtin(t)
	hot := func(s *gpu.Sample) { s.GPUs[0].Temperature = ptr(90.0) }
	require.Len(t, play(e, 0, 60, hot), 1)
	got := play(e, 61, 300, func(s *gpu.Sample) { s.GPUsStaleSince, s.GPUError = &began, "the driver hangs" })
	require.Len(t, got, 2, "it is hot as far as anybody knows, and there are no figures")
	require.Empty(t, play(e, 301, 301, func(s *gpu.Sample) { s.GPUs = nil; s.GPUSource = "" }),
		"a GPU that is gone is no matter")
	// A clock that is set back neither ends nor begins anything at once.
	e = builtin(t)
	require.Len(t, play(e, 1000, 1060, hot), 1)
	require.Len(t, play(e, 0, 20, hot), 1)
	require.Len(t, play(e, 21, 30, func(*gpu.Sample) {}), 1)
	require.Empty(t, play(e, 31, 90, func(*gpu.Sample) {}))
}

func TestBadRulesAreRefused(t *testing.T) {
	for text, why := range map[string]string{
		"[[rule]]\nid = \"nothing\"": "nothing",
		"[[rule]]\nid = \"disk-full\"\nraise = 1\nclear = 2\nseverity = \"info\"":    "clear = 2",
		"[[rule]]\nid = \"disk-full\"\nfor = \"-1s\"":                                "negative",
		"[[rule]]\nid = \"disk-full\"\nseverity = \"loud\"":                          "loud",
		"[[rule]]\nid = \"disk-full\"\nraise = 5\ncritical = 4\nseverity = \"info\"": "critical = 4",
		"[[rule]]\nid = \"disk-full\"\nraise = nan\nseverity = \"info\"":             "raise",
		"[[rule]]\nname = 1": "strict", strings.Repeat("[[rule]]\nid = \"disk-full\"\nseverity = \"info\"\n", 2): "twice",
	} {
		_, err := Parse([]byte(text))
		require.ErrorContains(t, err, why, text)
	}
	rules, err := Builtin()
	require.NoError(t, err)
	require.Len(t, rules, len(kinds), "each kind has a rule")
}

// Whatever is measured, a finding begins only after its figure has lasted, and is never there twice.
func TestFindingsLast(t *testing.T) {
	rules, err := Builtin()
	require.NoError(t, err)
	rules = slices.Clone(rules)
	for i := range rules {
		if rules[i].ID == "disk-full" {
			require.Zero(t, rules[i].For, "a full disk is told at once")
			rules[i].For = Duration(10 * time.Second)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		e := New(rules)
		at, above := 0, 0
		for range rapid.IntRange(1, 80).Draw(t, "samples") {
			step := rapid.IntRange(1, 10).Draw(t, "seconds")
			at += step
			used := rapid.SampledFrom([]float64{10, 82.9, 83, 84.9, 85, 99}).Draw(t, "percent")
			s := host(time.Duration(at) * time.Second)
			s.Disks[0].UsedPercent = &used
			got := e.Check(s)
			if used >= 85 {
				above += step
			} else if len(got) == 0 {
				above = 0
			}
			ids := map[string]bool{}
			for _, f := range got {
				require.False(t, ids[f.ID])
				ids[f.ID] = true
			}
			if len(got) > 0 && above < 10 {
				t.Fatalf("found after %d s", above)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	e := builtin(b)
	s := host(0)
	for len(s.GPUs) < 8 {
		s.GPUs = append(s.GPUs, s.GPUs[0])
	}
	for len(s.Disks) < 10 {
		s.Disks = append(s.Disks, s.Disks[0])
	}
	b.ReportAllocs()
	for b.Loop() {
		e.Check(s)
	}
}
