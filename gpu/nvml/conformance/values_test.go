package conformance

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu"
	"berth/gpu/nvml/gonvml"
	"berth/gpu/nvml/loader"
	"berth/gpu/nvmltest"
)

// each runs a test with each of the sources that this build has.
func each(t *testing.T, test func(t *testing.T, source string)) {
	t.Parallel()
	sources := []string{}
	if gonvml.Built {
		sources = append(sources, "go-nvml")
	}
	if loader.Built {
		sources = append(sources, "nvml")
	}
	if len(sources) == 0 {
		t.Skip("this build has no source for NVML: it needs cgo or the tag nvml")
	}
	for _, s := range sources {
		t.Run(s, func(t *testing.T) { t.Parallel(); test(t, s) })
	}
}

func ptr[T any](v T) *T { return &v }

// TestValues holds a reading against what the driver was told, in our units.
func TestValues(t *testing.T) {
	each(t, func(t *testing.T, source string) {
		s := nvmltest.Scenario{GPUs: nvmltest.A100s(2)}
		s.GPUs[1].Set(nvmltest.Throttle, 0x4|0x40)
		r := start(t, nvmltest.New(t, s), source).until(settled(s))
		require.Equal(t, source, r.Source)
		require.Equal(t, "570.86.15", r.DriverVersion)
		require.Equal(t, "12.8", r.CUDAVersion)
		require.WithinDuration(t, time.Now(), r.At, time.Minute)
		g := r.GPUs[1]
		for _, rate := range []*int64{g.NVLinkRx, g.NVLinkTx} {
			require.NotNil(t, rate)
		}
		require.InEpsilon(t, 4_000_000*1024, *g.NVLinkRx, 0.01)
		require.InEpsilon(t, 3_000_000*1024, *g.NVLinkTx, 0.01)
		g.NVLinkRx, g.NVLinkTx = nil, nil
		require.Equal(t, gpu.GPU{
			Index: 1, UUID: "GPU-0f3a0001-1111-2222-3333-444455550001", Name: "NVIDIA A100-SXM4-80GB", PCI: "00000000:0F:00.0",
			Utilization: ptr(61.0), MemoryUtilization: ptr(31.0),
			MemoryUsed: ptr(int64(21 << 30)), MemoryReserved: ptr(int64(600 << 20)), MemoryTotal: ptr(int64(80 << 30)),
			Temperature: ptr(51.0), MemoryTemperature: ptr(61.0), SlowdownTemperature: ptr(92.0),
			Power: ptr(251.5), PowerLimit: ptr(400.0), Energy: ptr(123456.790),
			SMClock: ptr(1410.0), MemoryClock: ptr(1593.0), MaxSMClock: ptr(1410.0), MaxMemoryClock: ptr(1593.0),
			PerformanceState: "P0",
			Throttle:         []string{"power cap", "thermal (hardware)"}, Encoder: ptr(0.0), Decoder: ptr(5.0),
			PCIeRx: ptr(int64(1_000_001_000)), PCIeTx: ptr(int64(2_000_001_000)), PCIeGeneration: ptr(4), PCIeWidth: ptr(16),
			NVLinks: ptr(12),
			ECC: &gpu.ECC{Corrected: ptr(int64(2)), Uncorrected: ptr(int64(0)), AggregateCorrected: ptr(int64(12)),
				AggregateUncorrected: ptr(int64(1)),
				RemappedCorrectable:  ptr(int64(1)), RemappedUncorrected: ptr(int64(0)), RemapPending: ptr(false),
				RemapFailed: ptr(false)},
			Persistence: ptr(true), ComputeMode: "default", MIGEnabled: ptr(false),
		}, g)
		require.Equal(t, []string{}, r.GPUs[0].Throttle, "supported, and nothing holds the clocks")
		require.Equal(t, []gpu.GPUProcess{
			{PID: 4000, GPU: 0, Kind: "compute", Memory: ptr(int64(19 << 30)), SM: ptr(55.0), Encoder: ptr(0.0),
				Decoder: ptr(0.0)},
			{PID: 4001, GPU: 1, Kind: "compute", Memory: ptr(int64(20 << 30)), SM: ptr(55.0), Encoder: ptr(0.0),
				Decoder: ptr(0.0)},
		}, r.Processes)
		require.Equal(t, []gpu.Link{{A: 0, B: 1, Kind: "NV12"}}, r.Topology)
	})
}

// TestNotSupported wants nothing where the hardware has nothing: never 0.
func TestNotSupported(t *testing.T) {
	each(t, func(t *testing.T, source string) {
		g := nvmltest.A100(0)
		g.Figures, g.Processes = nil, nil
		s := nvmltest.Scenario{GPUs: []nvmltest.GPU{g}, CUDA: -1}
		r := start(t, nvmltest.New(t, s), source).until(func(gpu.Reading) bool { return true })
		require.Equal(t, []gpu.GPU{{Index: 0, UUID: g.UUID, Name: g.Name, PCI: g.PCI}}, r.GPUs)
		require.Empty(t, r.CUDAVersion)
		require.Nil(t, r.GPUs[0].Throttle)
	})
}

// TestUnifiedMemory is of a GPU that shares the host's memory: the driver says "not supported" of it.
func TestUnifiedMemory(t *testing.T) {
	each(t, func(t *testing.T, source string) {
		s := nvmltest.Scenario{GPUs: []nvmltest.GPU{nvmltest.GB10(0), nvmltest.A100(1)}}
		f := nvmltest.New(t, s)
		p := start(t, f, source)
		r := p.until(func(r gpu.Reading) bool { return len(r.GPUs) == 2 })
		require.True(t, r.GPUs[0].Unified)
		require.Nil(t, r.GPUs[0].MemoryTotal)
		require.Nil(t, r.GPUs[0].MemoryUsed)
		require.NotNil(t, r.GPUs[0].Utilization)
		require.False(t, r.GPUs[1].Unified)
		// Memory that can't be asked for is no unified memory.
		f.Change(func(s *nvmltest.Scenario) {
			s.Fail = map[string]int{"nvmlDeviceGetMemoryInfo": nvmltest.NoPermission, "nvmlDeviceGetMemoryInfo_v2": nvmltest.NoPermission}
		})
		r = p.until(func(r gpu.Reading) bool { return len(r.GPUs) == 2 && r.GPUs[1].MemoryTotal == nil })
		require.False(t, r.GPUs[0].Unified)
		require.False(t, r.GPUs[1].Unified)
	})
}

func TestDivided(t *testing.T) {
	each(t, func(t *testing.T, source string) {
		s := nvmltest.Scenario{GPUs: []nvmltest.GPU{nvmltest.Divided(0)}}
		f := nvmltest.New(t, s)
		p := start(t, f, source)
		r := p.until(settled(s))
		g := r.GPUs[0]
		require.Nil(t, g.Utilization)
		require.True(t, *g.MIGEnabled)
		require.Equal(t, []gpu.MIG{
			{Index: 0, UUID: s.GPUs[0].MIG[0].UUID, Profile: "1g.10gb", GPUInstance: 7, ComputeInstance: 0,
				MemoryUsed: ptr(int64(1 << 30)), MemoryTotal: ptr(int64(10 << 30))},
			{Index: 1, UUID: s.GPUs[0].MIG[1].UUID, Profile: "3g.40gb", GPUInstance: 8, ComputeInstance: 1,
				MemoryUsed: ptr(int64(2 << 30)), MemoryTotal: ptr(int64(40 << 30))},
		}, g.MIG)
		require.Equal(t, []gpu.GPUProcess{
			{PID: 6000, GPU: 0, MIG: ptr(0), Kind: "compute", Memory: ptr(int64(1 << 30))},
			{PID: 6001, GPU: 0, MIG: ptr(1), Kind: "compute", Memory: ptr(int64(1 << 30))},
		}, r.Processes)
		// Divided anew: the list is read again after a while.
		f.Change(func(s *nvmltest.Scenario) { s.GPUs[0].MIG = s.GPUs[0].MIG[:1] })
		p.until(func(r gpu.Reading) bool { return len(r.GPUs[0].MIG) == 1 })
	})
}

// TestProcessSamples: what the driver says of a process stands for a while; rubbish never does.
func TestProcessSamples(t *testing.T) {
	each(t, func(t *testing.T, source string) {
		g := nvmltest.A100(0)
		now := uint64(time.Now().UnixMicro())
		g.Samples = []nvmltest.Sample{{PID: 4000, At: now, SM: 70, Encoder: 3, Decoder: 4}, {PID: 4000, At: now - 10, SM: 10},
			{PID: 4000, At: now + 5, SM: 4_000_000},
			{PID: 4000, At: 3, SM: 99}, {PID: 77, At: now, SM: 50}}
		f := nvmltest.New(t, nvmltest.Scenario{GPUs: []nvmltest.GPU{g}})
		p := start(t, f, source)
		r := p.until(func(gpu.Reading) bool { return true })
		require.Equal(t, []gpu.GPUProcess{{PID: 4000, GPU: 0, Kind: "compute", Memory: ptr(int64(19 << 30)), SM: ptr(70.0),
			Encoder: ptr(3.0), Decoder: ptr(4.0)}}, r.Processes)
		// No newer sample comes: it does nothing any more.
		p.until(func(r gpu.Reading) bool { return *r.Processes[0].SM == 0 })
		// A GPU that does not tell has nothing, not 0.
		f.Change(func(s *nvmltest.Scenario) {
			s.Fail = map[string]int{"nvmlDeviceGetProcessUtilization": nvmltest.NotSupported}
		})
		p.until(func(r gpu.Reading) bool { return r.Processes[0].SM == nil && r.Processes[0].Memory != nil })
	})
}

// TestXIDs: only those that come while the probe watches; with what they mean.
func TestXIDs(t *testing.T) {
	each(t, func(t *testing.T, source string) {
		f := nvmltest.New(t, nvmltest.Scenario{GPUs: nvmltest.A100s(2), Events: []nvmltest.Event{{GPU: 0, Code: 63}}})
		p := start(t, f, source)
		p.until(func(gpu.Reading) bool { return true })
		f.Change(func(s *nvmltest.Scenario) { s.Events = append(s.Events, nvmltest.Event{GPU: 1, Code: 31}) })
		r := p.until(func(r gpu.Reading) bool { return r.GPUs[1].LastXID != nil })
		require.Nil(t, r.GPUs[0].LastXID, "it happened before")
		require.Equal(t, 31, r.GPUs[1].LastXID.Code)
		require.True(t, r.GPUs[1].LastXID.Application)
		f.Change(func(s *nvmltest.Scenario) { s.Events = append(s.Events, nvmltest.Event{GPU: 0, Code: 94}) })
		r = p.until(func(r gpu.Reading) bool { return r.GPUs[0].LastXID != nil })
		require.Equal(t, 94, r.GPUs[0].LastXID.Code)
		require.False(t, r.GPUs[0].LastXID.Application)
		require.NotEmpty(t, r.GPUs[0].LastXID.Meaning)
	})
}

// TestRecovers: a GPU that was lost, or had no handle, is read again when it is back.
func TestRecovers(t *testing.T) {
	each(t, func(t *testing.T, source string) {
		f := nvmltest.New(t, nvmltest.Scenario{GPUs: nvmltest.A100s(2), Fail: map[string]int{"0:*": nvmltest.GPUIsLost}})
		p := start(t, f, source)
		r := p.until(func(gpu.Reading) bool { return true })
		require.Contains(t, r.GPUs[0].Error, "fell off the bus")
		require.Equal(t, 61.0, *r.GPUs[1].Utilization)
		f.Change(func(s *nvmltest.Scenario) { s.Fail = nil })
		r = p.until(func(r gpu.Reading) bool { return r.GPUs[0].Error == "" })
		require.Equal(t, nvmltest.A100(0).UUID, r.GPUs[0].UUID)
		require.Equal(t, 60.0, *r.GPUs[0].Utilization)
	})
}

// TestSlowCallHangs: a hanging counter of the bus holds up nothing else, and its last value does not stay for ever.
func TestSlowCallHangs(t *testing.T) {
	each(t, func(t *testing.T, source string) {
		s := nvmltest.Scenario{GPUs: nvmltest.A100s(1)}
		f := nvmltest.New(t, s)
		p := start(t, f, source)
		p.until(settled(s))
		f.Change(func(s *nvmltest.Scenario) { s.Hang = []string{"nvmlDeviceGetPcieThroughput"} })
		p.until(func(r gpu.Reading) bool { return r.GPUs[0].PCIeRx == nil && *r.GPUs[0].Utilization == 60 })
		f.Change(func(s *nvmltest.Scenario) { s.Hang = nil })
		p.until(settled(s))
	})
}

// TestErrorsAreExplained: each whole failure has words of what to do.
func TestErrorsAreExplained(t *testing.T) {
	each(t, func(t *testing.T, source string) {
		for code, words := range map[int]string{nvmltest.VersionMismatch: "reboot", nvmltest.DriverNotLoaded: "modprobe",
			nvmltest.NoPermission: "/dev/nvidiactl", nvmltest.Unknown: "unknown error"} {
			f := nvmltest.New(t, nvmltest.Scenario{Fail: map[string]int{"nvmlInit_v2": code}})
			r := start(t, f, source).until(func(gpu.Reading) bool { return true })
			require.Contains(t, r.Error, words)
			require.Empty(t, r.GPUs)
		}
		f := nvmltest.New(t, nvmltest.Scenario{})
		f.Library = "/nowhere/libnvidia-ml.so.1"
		r := start(t, f, source).until(func(gpu.Reading) bool { return true })
		require.Contains(t, r.Error, "can't be loaded")
		require.Contains(t, r.Error, "/nowhere/libnvidia-ml.so.1")
	})
}

// TestEveryCode: no return code of any call stops the reading of the other GPU, or is taken for a figure.
func TestEveryCode(t *testing.T) {
	each(t, func(t *testing.T, source string) {
		f := nvmltest.New(t, nvmltest.Scenario{GPUs: nvmltest.A100s(2)})
		p := start(t, f, source)
		p.until(func(gpu.Reading) bool { return true })
		for code := 2; code <= 30; code++ {
			if code == nvmltest.DriverNotLoaded || code == nvmltest.VersionMismatch {
				continue // these are about the driver as a whole
			}
			if code == 7 && source == "go-nvml" {
				continue // the bindings then ask for ever with twice as much room: the child's memory limit ends that (TestRunaway)
			}
			var want gpu.Reading
			f.Change(func(s *nvmltest.Scenario) {
				s.Fail = map[string]int{"0:*": code}
				s.GPUs[1].Set(nvmltest.Temperature, uint64(code))
			})
			want = p.until(func(r gpu.Reading) bool { return *r.GPUs[1].Temperature == float64(code) })
			g := want.GPUs[0]
			require.Equal(t, nvmltest.A100(0).UUID, g.UUID)
			require.Nil(t, g.Utilization, "code %d", code)
			require.Nil(t, g.MemoryUsed, "code %d", code)
			require.Nil(t, g.Power, "code %d", code)
		}
	})
}

// TestRunaway: a library that makes its caller ask for more and more memory costs the child's life, not the host's
// memory.
func TestRunaway(t *testing.T) {
	if !gonvml.Built {
		t.Skip("this build has no NVIDIA bindings: they need cgo")
	}
	t.Parallel()
	f := nvmltest.New(t, nvmltest.Scenario{GPUs: nvmltest.A100s(1),
		Fail: map[string]int{"nvmlDeviceGetComputeRunningProcesses_v3": 7}})
	p := start(t, f, "go-nvml")
	for range p.lines {
	}
	require.Error(t, <-p.done)
	require.Regexp(t, "out of memory|failed to allocate|pthread_create failed", p.err.String())
	peak := p.cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	require.Less(t, peak, int64(1200<<20))
}

// TestSMI holds nvidia-smi's answers against NVML's, in what both know.
func TestSMI(t *testing.T) {
	if !loader.Built {
		t.Skip("this build has no loader of NVML: it needs cgo or the tag nvml")
	}
	t.Parallel()
	for name, s := range map[string]nvmltest.Scenario{
		"none":  {},
		"eight": {GPUs: nvmltest.A100s(8)},
		"desk":  {GPUs: []nvmltest.GPU{nvmltest.RTX(0), nvmltest.T4(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := nvmltest.New(t, s)
			want := start(t, f, "nvml").until(settled(s))
			got := start(t, f, "nvidia-smi").until(func(r gpu.Reading) bool {
				return len(s.GPUs) == 0 || len(r.Processes) > 0
			})
			require.Equal(t, "nvidia-smi", got.Source)
			want.CUDAVersion, want.Topology = "", nil
			if len(s.GPUs) == 0 {
				want.DriverVersion = "" // it stands in a GPU's line
			}
			for i := range want.GPUs {
				g := &want.GPUs[i]
				// What nvidia-smi's list does not have.
				g.Energy, g.SlowdownTemperature, g.PCIeRx, g.PCIeTx, g.NVLinkRx, g.NVLinkTx, g.NVLinks = nil, nil, nil, nil, nil,
					nil, nil
				if g.ECC != nil {
					g.ECC.RemappedCorrectable, g.ECC.RemappedUncorrected, g.ECC.RemapPending, g.ECC.RemapFailed = nil, nil, nil, nil
				}
			}
			var processes []gpu.GPUProcess
			for _, p := range want.Processes {
				if p.Kind == "compute" {
					p.SM, p.Encoder, p.Decoder = nil, nil, nil
					processes = append(processes, p)
				}
			}
			want.Processes = processes
			require.Equal(t, text(t, plain(want)), text(t, plain(got)))
		})
	}
}
