package prom

import (
	"bytes"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"berth/gpu"
)

func ptr[T any](v T) *T { return &v }

// read parses what was written with Prometheus' own parser.
func read(t testing.TB, targets ...Target) map[string]*dto.MetricFamily {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, Write(&b, targets))
	p := expfmt.NewTextParser(model.UTF8Validation)
	got, err := p.TextToMetricFamilies(&b)
	require.NoError(t, err)
	return got
}

func labels(m *dto.Metric) map[string]string {
	out := map[string]string{}
	for _, l := range m.Label {
		out[l.GetName()] = l.GetValue()
	}
	return out
}

func sample() *gpu.Sample {
	return &gpu.Sample{SampledAt: time.Unix(1700000000, 0), DriverVersion: "570.1",
		GPUs: []gpu.GPU{{Index: 1, UUID: "GPU-1", Name: "NVIDIA H100", PCI: "00000000:65:00.0", Utilization: ptr(97.0),
			MemoryUsed: ptr(int64(3 << 30)), MemoryTotal: ptr(int64(80 << 30)),
			MemoryReserved: ptr(int64(1 << 30)), Energy: ptr(12.5), Throttle: []string{"power cap"}, LastXID: &gpu.XID{Code: 79},
			ECC: &gpu.ECC{Uncorrected: ptr(int64(2)), RemapFailed: ptr(true)}},
			{Index: 2, UUID: "GPU-2", Error: "lost"}},
		Host: gpu.Host{CPU: ptr(12.0), Pressure: &gpu.Pressure{IO: 3},
			Networks: []gpu.Network{{Name: "eth0", Rx: ptr(int64(5))}}},
		Disks: []gpu.Disk{{Mount: "/data\n\"x\"\\", Device: "/dev/sda1", Filesystem: "ext4", Total: ptr(int64(100)),
			Used: ptr(int64(40))}},
		Attention: []gpu.Finding{{Rule: "disk-full", Subject: "/", Severity: "critical"}}}
}

func TestNamesAndUnitsAreThoseOfDCGM(t *testing.T) {
	got := read(t, Target{Hostname: "box", Instance: "vision", Sample: sample(), Up: ptr(true)})
	value := func(name string) float64 {
		t.Helper()
		require.Contains(t, got, name)
		m := got[name].Metric[0]
		if m.Gauge != nil {
			return m.Gauge.GetValue()
		}
		return m.Counter.GetValue()
	}
	for name, want := range map[string]float64{"DCGM_FI_DEV_GPU_UTIL": 97, "DCGM_FI_DEV_FB_USED": 3072,
		"DCGM_FI_DEV_FB_RESERVED": 1024, "DCGM_FI_DEV_FB_FREE": 76 * 1024,
		"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": 12500, "DCGM_FI_DEV_XID_ERRORS": 79, "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": 2,
		"DCGM_FI_DEV_ROW_REMAP_FAILURE": 1,
		"berth_up":                      1, "berth_cpu_percent": 12, "berth_network_receive_bytes_per_second": 5,
		"berth_disk_used_bytes": 40,
		"berth_attention":       1, "berth_gpu_throttled": 1} {
		require.Equal(t, want, value(name), name)
	}
	require.Equal(t, map[string]string{"gpu": "1", "UUID": "GPU-1", "pci_bus_id": "00000000:65:00.0", "device": "nvidia1",
		"modelName": "NVIDIA H100", "Hostname": "box",
		"berth_instance": "vision", "DCGM_FI_DRIVER_VERSION": "570.1"}, labels(got["DCGM_FI_DEV_GPU_UTIL"].Metric[0]))
	require.Equal(t, "/data\n\"x\"\\", labels(got["berth_disk_used_bytes"].Metric[0])["mountpoint"])
	// What is not offered is left out, not 0.
	require.Len(t, got["DCGM_FI_DEV_GPU_UTIL"].Metric, 1, "the lost GPU has no utilization")
	require.Len(t, got["berth_gpu_ok"].Metric, 2)
	require.Empty(t, got["DCGM_FI_DEV_GPU_TEMP"].GetMetric())
}

func TestUnifiedMemoryIsMarked(t *testing.T) {
	s := sample()
	require.NotContains(t, read(t, Target{Sample: s}), "berth_gpu_memory_unified")
	s.GPUs[0].Unified, s.GPUs[0].MemoryReserved = true, nil
	got := read(t, Target{Sample: s})
	require.Equal(t, 1.0, got["berth_gpu_memory_unified"].Metric[0].Gauge.GetValue())
	require.Equal(t, 3072.0, got["DCGM_FI_DEV_FB_USED"].Metric[0].Gauge.GetValue())
	require.NotContains(t, got, "berth_gpu_pcie_receive_bytes_per_second")
}

func TestStaleFiguresAreNotGiven(t *testing.T) {
	s := sample()
	s.GPUsStaleSince = &s.SampledAt
	got := read(t, Target{Instance: "a", Sample: s})
	require.Empty(t, got["DCGM_FI_DEV_GPU_UTIL"].GetMetric())
	require.Zero(t, got["berth_gpu_ok"].Metric[0].Gauge.GetValue())
	require.NotEmpty(t, got["berth_cpu_percent"].Metric)
}

func TestManyHostsAreOneFamilyEach(t *testing.T) {
	got := read(t, Target{Instance: "a", Sample: sample(), Up: ptr(true)}, Target{Instance: "b", Sample: sample(),
		Up: ptr(true)}, Target{Instance: "c", Up: ptr(false)})
	require.Len(t, got["berth_up"].Metric, 3)
	require.Len(t, got["DCGM_FI_DEV_GPU_UTIL"].Metric, 2)
	require.Empty(t, read(t))
}

// Whatever names come from outside, what is written can be read, and says the same.
func FuzzLabels(f *testing.F) {
	f.Add("NVIDIA \"H100\"", "/mnt/a\\b\n", "x")
	f.Add("\xff\x00", "{}", "")
	f.Fuzz(func(t *testing.T, name, mount, instance string) {
		s := sample()
		s.GPUs[0].Name, s.Disks[0].Mount = name, mount
		got := read(t, Target{Instance: instance, Sample: s})
		if len(got["DCGM_FI_DEV_GPU_UTIL"].Metric) != 1 || len(got["berth_disk_used_bytes"].Metric) != 1 {
			t.Fatal("a line is lost")
		}
	})
}
