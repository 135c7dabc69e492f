package nvmltest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
)

// Key names a figure of a GPU. A figure that a GPU does not have set is "not supported".
type Key string

// The figures, with NVML's units.
const (
	Utilization       Key = "utilization"        // percent; with MemoryUtilization
	MemoryUtilization Key = "memory_utilization" // percent
	MemoryTotal       Key = "memory_total"       // bytes
	MemoryReserved    Key = "memory_reserved"    // bytes
	MemoryUsed        Key = "memory_used"        // bytes, without what is reserved

	Temperature         Key = "temperature" // °C
	MemoryTemperature   Key = "memory_temperature"
	SlowdownTemperature Key = "slowdown_temperature"
	Fan                 Key = "fan"            // percent
	Power               Key = "power_mw"       // milliwatts
	PowerLimit          Key = "power_limit_mw" // milliwatts
	Energy              Key = "energy_mj"      // millijoules

	SMClock          Key = "sm_clock" // MHz
	MemoryClock      Key = "memory_clock"
	MaxSMClock       Key = "max_sm_clock"
	MaxMemoryClock   Key = "max_memory_clock"
	PerformanceState Key = "pstate"
	Throttle         Key = "throttle" // NVML's bits

	Encoder        Key = "encoder" // percent
	Decoder        Key = "decoder"
	PCIeRx         Key = "pcie_rx" // KB/s
	PCIeTx         Key = "pcie_tx"
	PCIeGeneration Key = "pcie_generation"
	PCIeWidth      Key = "pcie_width"
	NVLinks        Key = "nvlinks"   // links that are up, of 18
	NVLinkRx       Key = "nvlink_rx" // KiB/s: the counter grows so fast
	NVLinkTx       Key = "nvlink_tx"

	ECCMode                 Key = "ecc_mode" // 0 or 1
	ECCCorrected            Key = "ecc_volatile_corrected"
	ECCUncorrected          Key = "ecc_volatile_uncorrected"
	ECCAggregateCorrected   Key = "ecc_aggregate_corrected"
	ECCAggregateUncorrected Key = "ecc_aggregate_uncorrected"
	RemappedCorrected       Key = "remapped_corrected" // all four, or none
	RemappedUncorrected     Key = "remapped_uncorrected"
	RemapPending            Key = "remap_pending"
	RemapFailed             Key = "remap_failed"

	Persistence Key = "persistence"  // 0 or 1
	ComputeMode Key = "compute_mode" // 0 default, 2 prohibited, 3 exclusive process
	MIGMode     Key = "mig_mode"     // 0 or 1
)

// Return codes of NVML that tests use often.
const (
	NotSupported    = 3
	NoPermission    = 4
	DriverNotLoaded = 9
	GPUIsLost       = 15
	VersionMismatch = 18
	Unknown         = 999
)

// Scenario is everything that the fake driver knows.
type Scenario struct {
	Driver string // "570.86.15" if empty
	CUDA   int    // 12080 (12.8) if 0; negative: not supported
	GPUs   []GPU  // at most 16
	// Fail makes functions return a code: "nvmlInit_v2", "3:nvmlDeviceGetPowerUsage" of GPU 3 only, "3:*" all of it.
	Fail map[string]int
	// Hang makes functions wait until the scenario lets them go; named as in Fail.
	Hang []string
	// Topology is NVML's level of pairs of GPUs: 10 one switch, 20 several, 30 host bridge, 40 node, 50 system.
	Topology map[[2]int]int
	Events   []Event // what happened so far; only what is added later is told
}

// GPU is one device.
type GPU struct {
	Name, UUID, PCI string
	NVLinkRemote    string // the PCI address that all links go to; empty: a switch
	Figures         map[Key]uint64
	Processes       []Process
	Samples         []Sample
	MIG             []MIG // needs MIGMode 1
}

// Process is one on a GPU or on a MIG device. Its memory is not told if it is NotAvailable.
type Process struct {
	PID      int
	Graphics bool
	Memory   uint64
}

// NotAvailable is the memory of a process of which the driver does not know it.
const NotAvailable = ^uint64(0)

// Sample is what a process used, in percent.
type Sample struct {
	PID                          int
	At                           uint64 // µs since 1970; 0: just now, whenever it is asked for
	SM, Memory, Encoder, Decoder int
}

// MIG is one part of a GPU that is divided.
type MIG struct {
	Name, UUID                   string
	GPUInstance, ComputeInstance int
	MemoryTotal, MemoryUsed      uint64
	Processes                    []Process
}

// Event is an error that the driver reports once.
type Event struct {
	GPU  int
	Code int // an XID
}

// Set changes a figure.
func (g *GPU) Set(k Key, v uint64) { g.Figures[k] = v }

// Unset makes figures unsupported.
func (g *GPU) Unset(keys ...Key) {
	for _, k := range keys {
		delete(g.Figures, k)
	}
}

// A100 is an A100 of 80 GB at work, with everything that the driver knows of one.
func A100(i int) GPU {
	n := uint64(i)
	return GPU{
		Name: "NVIDIA A100-SXM4-80GB", UUID: fmt.Sprintf("GPU-0f3a%04x-1111-2222-3333-44445555%04x", i, i),
		PCI: fmt.Sprintf("00000000:%02X:00.0", 7+8*i),
		Figures: map[Key]uint64{
			Utilization: 60 + n, MemoryUtilization: 30 + n, MemoryTotal: 80 << 30, MemoryReserved: 600 << 20,
			MemoryUsed:  (20 + n) << 30,
			Temperature: 50 + n, MemoryTemperature: 60 + n, SlowdownTemperature: 92, Power: 250_500 + 1000*n,
			PowerLimit: 400_000, Energy: 123_456_789 + n,
			SMClock: 1410, MemoryClock: 1593, MaxSMClock: 1410, MaxMemoryClock: 1593, PerformanceState: 0, Throttle: 0,
			Encoder: 0, Decoder: 5, PCIeRx: 1_000_000 + n, PCIeTx: 2_000_000 + n, PCIeGeneration: 4, PCIeWidth: 16,
			NVLinks: 12, NVLinkRx: 4_000_000, NVLinkTx: 3_000_000,
			ECCMode: 1, ECCCorrected: 2, ECCUncorrected: 0, ECCAggregateCorrected: 12, ECCAggregateUncorrected: 1,
			RemappedCorrected: 1, RemappedUncorrected: 0, RemapPending: 0, RemapFailed: 0,
			Persistence: 1, ComputeMode: 0, MIGMode: 0,
		},
		Processes: []Process{{PID: 4000 + i, Memory: (19 + n) << 30}},
		Samples:   []Sample{{PID: 4000 + i, SM: 55, Memory: 20}},
	}
}

// A100s is n of them.
func A100s(n int) []GPU {
	out := make([]GPU, n)
	for i := range out {
		out[i] = A100(i)
	}
	return out
}

// T4 is a small passive card without NVLink and MIG.
func T4(i int) GPU {
	g := A100(i)
	g.Name, g.UUID = "Tesla T4", fmt.Sprintf("GPU-74740%03x-aaaa-bbbb-cccc-ddddeeee%04x", i, i)
	g.Unset(NVLinks, NVLinkRx, NVLinkTx, MIGMode, MemoryTemperature, RemappedCorrected, RemappedUncorrected, RemapPending,
		RemapFailed)
	g.Set(MemoryTotal, 16<<30)
	g.Set(MemoryUsed, 3<<30)
	return g
}

// RTX is a card for a desk, with a fan and without ECC; its driver tells less of its processes.
func RTX(i int) GPU {
	g := T4(i)
	g.Name, g.UUID = "NVIDIA GeForce RTX 4090", fmt.Sprintf("GPU-40904%03x-aaaa-bbbb-cccc-ddddeeee%04x", i, i)
	g.Unset(ECCMode, ECCCorrected, ECCUncorrected, ECCAggregateCorrected, ECCAggregateUncorrected)
	g.Set(Fan, 41)
	g.Set(MemoryTotal, 24<<30)
	g.Processes = []Process{{PID: 5000 + i, Memory: NotAvailable}, {PID: 5100 + i, Graphics: true, Memory: 200 << 20}}
	return g
}

// GB10 is a chip that shares the host's memory, as in a DGX Spark: the driver reports no memory, no fan and no limit.
func GB10(i int) GPU {
	g := RTX(i)
	g.Name, g.UUID, g.PCI = "NVIDIA GB10", fmt.Sprintf("GPU-2dee1%03x-b3b5-007e-2b55-79f2d0f2%04x", i, i), "0000000F:01:00.0"
	g.Unset(MemoryTotal, MemoryReserved, MemoryUsed, Fan, PowerLimit, MemoryClock, MaxMemoryClock)
	g.Set(PCIeGeneration, 1)
	g.Set(PCIeWidth, 1)
	g.Processes = []Process{{PID: 7000 + i, Memory: 19 << 30}}
	return g
}

// Divided is an A100 in two MIG parts, each with a process.
func Divided(i int) GPU {
	g := A100(i)
	g.Set(MIGMode, 1)
	g.Unset(Utilization, MemoryUtilization, Encoder, Decoder)
	g.Processes, g.Samples = nil, nil
	for k, profile := range []string{"1g.10gb", "3g.40gb"} {
		g.MIG = append(g.MIG, MIG{
			Name: "NVIDIA A100-SXM4-80GB MIG " + profile, UUID: fmt.Sprintf("MIG-%04x%04x-1111-2222-3333-444455556666", i, k),
			GPUInstance: 7 + k, ComputeInstance: k, MemoryTotal: uint64(10+30*k) << 30, MemoryUsed: uint64(1+k) << 30,
			Processes: []Process{{PID: 6000 + 10*i + k, Memory: 1 << 30}},
		})
	}
	return g
}

// clone is deep enough for changes to a copy not to be seen in the original.
func (s Scenario) clone() Scenario {
	s.GPUs = slices.Clone(s.GPUs)
	for i := range s.GPUs {
		g := &s.GPUs[i]
		g.Figures = maps.Clone(g.Figures)
		g.Processes, g.Samples, g.MIG = slices.Clone(g.Processes), slices.Clone(g.Samples), slices.Clone(g.MIG)
	}
	s.Fail, s.Topology = maps.Clone(s.Fail), maps.Clone(s.Topology)
	s.Hang, s.Events = slices.Clone(s.Hang), slices.Clone(s.Events)
	return s
}

// Write puts the scenario into a file that the fakes read (FAKE_NVML_SCENARIO), as a whole.
func (s Scenario) Write(path string) error {
	if len(s.GPUs) > 16 {
		return fmt.Errorf("the fake driver knows 16 GPUs at most, not %d", len(s.GPUs))
	}
	var b bytes.Buffer
	line := func(key string, values ...any) {
		b.WriteString(key)
		for _, v := range values {
			fmt.Fprintf(&b, " %v", v)
		}
		b.WriteByte('\n')
	}
	line("driver", strings.TrimSpace(first(s.Driver, "570.86.15")))
	line("cuda", max(first(s.CUDA, 12080), 0))
	for _, k := range slices.Sorted(maps.Keys(s.Fail)) {
		line("fail", k, s.Fail[k])
	}
	for _, h := range s.Hang {
		line("hang", h)
	}
	for p, level := range s.Topology {
		line("topology", p[0], p[1], level)
	}
	for i, e := range s.Events {
		line("event", i+1, e.GPU, 8, e.Code) // 8: an XID
	}
	for i, g := range s.GPUs {
		line("gpu", i)
		line("name", g.Name)
		line("uuid", g.UUID)
		line("pci", g.PCI)
		if g.NVLinkRemote != "" {
			line("nvlink_remote", g.NVLinkRemote)
		}
		for _, k := range slices.Sorted(maps.Keys(g.Figures)) {
			line(string(k), g.Figures[k])
		}
		processes := func(list []Process, gi, ci uint32) {
			for _, p := range list {
				kind := 0
				if p.Graphics {
					kind = 1
				}
				line("process", kind, p.PID, p.Memory, gi, ci)
			}
		}
		processes(g.Processes, 0xFFFFFFFF, 0xFFFFFFFF)
		for _, p := range g.Samples {
			line("sample", p.PID, p.At, p.SM, p.Memory, p.Encoder, p.Decoder)
		}
		for k, m := range g.MIG {
			line("mig", k)
			line("name", m.Name)
			line("uuid", m.UUID)
			line("gpu_instance", m.GPUInstance)
			line("compute_instance", m.ComputeInstance)
			line("memory_total", m.MemoryTotal)
			line("memory_used", m.MemoryUsed)
			processes(m.Processes, uint32(m.GPUInstance), uint32(m.ComputeInstance))
		}
	}
	return renameio.WriteFile(path, b.Bytes(), os.FileMode(0o600))
}

func first[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
