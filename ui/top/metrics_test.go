package top

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/gpu"
)

// What is asked of the history is what the history keeps, of the same kind and in the same unit.
func TestMetricsAreThoseOfTheHistory(t *testing.T) {
	kept := map[string]gpu.Metric{}
	for _, m := range gpu.Metrics() {
		kept[m.Name] = m
	}
	kindOf := map[kind]string{gpuItem: gpu.KindGPU, cpuItem: gpu.KindHost, memItem: gpu.KindHost, netItem: gpu.KindNetwork,
		devItem: gpu.KindDevice, diskItem: gpu.KindDisk}
	units := map[string]string{"%": "percent", "bytes": "bytes", "bytes/s": "bytes_per_second", "°C": "celsius",
		"W": "watts", "MHz": "mhz", "": ""}
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
	for v, want := range map[float64]string{0: "0B", 999: "999B", 1000: "1.0K", 1024: "1K", 1536: "1.5K", 40 << 30: "40G",
		1152 << 30: "1.1T", -410e3: "-400K", 1e21: "867E"} {
		require.Equal(t, want, size(v), "%v", v)
	}
	require.Equal(t, "not supported", said(number(nil, "%")))
	require.Equal(t, "0%", said(number(new(float64), "%")))
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
		var list []gpu.Process
		for i := 0; i+1 < len(raw) && i < 200; i += 2 {
			p := gpu.Process{PID: int(raw[i]), PPID: int(raw[i+1]), Command: string(raw[i:])}
			if raw[i+1]%3 == 0 {
				g := i
				p.GPUIndex = &g
			}
			list = append(list, p)
		}
		s := &Top{tree: tree, sorted: len(raw) % len(sortings)}
		s.in.Set(q)
		s.processes(list)
		seen := map[int]bool{}
		for _, k := range s.items {
			require.False(t, seen[k.index])
			seen[k.index] = true
			require.GreaterOrEqual(t, k.depth, 0)
		}
		if strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(s.in.Value()), "!")) == "" {
			require.Len(t, s.items, len(list))
		}
	})
}
