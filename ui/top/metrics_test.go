package top

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/gpu"
	"berth/ui/list"
	"berth/ui/money"
)

// What is asked of the history is what the history keeps, of the same kind and in the same unit.
func TestMetricsAreThoseOfTheHistory(t *testing.T) {
	kept := map[string]gpu.Metric{}
	for _, m := range gpu.Metrics() {
		kept[m.Name] = m
	}
	kindOf := map[kind]string{gpuItem: gpu.KindGPU, cpuItem: gpu.KindHost, memItem: gpu.KindHost, netItem: gpu.KindNetwork,
		devItem: gpu.KindDevice, diskItem: gpu.KindDisk}
	units := map[string]string{money.Percent: "percent", "bytes": "bytes", "bytes/s": "bytes_per_second",
		money.Celsius: "celsius", money.Watt: "watts", money.MHz: "mhz", "": ""}
	seen := 0
	for k, ms := range metrics {
		for _, m := range ms {
			h, ok := kept[m.name]
			require.True(t, ok, "%s is not kept", m.name)
			require.Equal(t, kindOf[k], h.Kind, m.name)
			require.Equal(t, units[m.unit], h.Unit, m.name)
			require.Nil(t, m.now(&gpu.Sample{}, item{}), "%s: what is not measured is not zero", m.name)
			seen++
		}
	}
	require.Equal(t, len(kept), seen, "each is drawn somewhere")
}

func TestWords(t *testing.T) {
	for v, want := range map[float64]string{0: "0 B", 999: "999 B", 1536: "1.5 KiB", 40 << 30: "40 GiB",
		1152 << 30: "1.1 TiB", -410e3: "-400 KiB", 1e21: "4.0 EiB", math.NaN(): "-"} {
		require.Equal(t, want, size(v), "%v", v)
	}
	require.Equal(t, "not supported", said(money.Figure(nil, money.Percent)))
	require.Equal(t, "0%", said(money.Figure(new(float64), money.Percent)))
	require.Equal(t, "not supported", throttle(nil))
	require.Equal(t, "no", throttle([]string{}))
	require.Equal(t, "not supported", clock(nil, new(float64)))
}

// FuzzProcesses draws nothing, but lists processes whose parents form any shape: none is lost or doubled.
func FuzzProcesses(f *testing.F) {
	f.Add([]byte{1, 0, 2, 1, 3, 2}, "", true)
	f.Add([]byte{1, 2, 2, 1, 1, 1}, "python", false)
	f.Add([]byte{7, 7}, "!x", true)
	f.Fuzz(func(t *testing.T, raw []byte, q string, tree bool) {
		var procs []gpu.Process
		for i := 0; i+1 < len(raw) && i < 200; i += 2 {
			p := gpu.Process{PID: int(raw[i]), PPID: int(raw[i+1]), Command: string(raw[i:])}
			if raw[i+1]%3 == 0 {
				g := i
				p.GPUIndex = &g
			}
			procs = append(procs, p)
		}
		s := &Top{tree: tree}
		s.Begin(list.Of{Len: func() int { return len(s.items) }}, q)
		s.Sort = sortNames[len(raw)%len(sortNames)]
		s.processes(procs)
		seen := map[int]bool{}
		for _, k := range s.items {
			require.False(t, seen[k.index])
			seen[k.index] = true
			require.GreaterOrEqual(t, k.depth, 0)
		}
		if gpu.Words(s.Words()) == nil {
			require.Len(t, s.items, len(procs))
		}
	})
}
