package prom

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/gpu"
)

// ContentType is that of what Write writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Target is one host with its figures.
type Target struct {
	Hostname string // label Hostname, as dcgm-exporter has it
	Instance string // label berth_instance; empty: none
	Sample   *gpu.Sample
	// Up says whether the figures are those of now; nil leaves the metric out.
	Up *bool
}

// pair is one label.
type pair struct{ name, value string }

// family is one metric of all targets.
type family struct {
	name, kind, help string
	lines            bytes.Buffer
}

// set collects families in the order in which they are first used.
type set struct {
	order  []*family
	byName map[string]*family
}

// family finds or begins one.
func (s *set) family(name, kind, help string) *family {
	f := s.byName[name]
	if f == nil {
		f = &family{name: name, kind: kind, help: help}
		s.byName[name] = f
		s.order = append(s.order, f)
	}
	return f
}

var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func (f *family) add(v float64, labels ...[]pair) {
	b := &f.lines
	b.WriteString(f.name)
	sep := byte('{')
	for _, l := range labels {
		for _, p := range l {
			b.WriteByte(sep)
			b.WriteString(p.name)
			b.WriteString(`="`)
			b.WriteString(escape.Replace(strings.ToValidUTF8(p.value, "?")))
			b.WriteByte('"')
			sep = ','
		}
	}
	if sep == ',' {
		b.WriteByte('}')
	}
	b.WriteByte(' ')
	b.WriteString(number(v))
	b.WriteByte('\n')
}

func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// Write writes the figures of all targets. What a host does not offer is left out.
func Write(w io.Writer, targets []Target) error {
	s := &set{byName: map[string]*family{}}
	for i := range targets {
		t := &targets[i]
		base := []pair{{"Hostname", t.Hostname}}
		if t.Instance != "" {
			base = append(base, pair{"berth_instance", t.Instance})
		}
		if t.Up != nil {
			s.family("berth_up", "gauge", "Whether the agent of the instance answers.").add(flag(*t.Up), base)
		}
		if t.Sample == nil {
			continue
		}
		for j := range t.Sample.GPUs {
			gpuMetrics(s, base, t.Sample, &t.Sample.GPUs[j])
		}
		hostMetrics(s, base, t.Sample)
	}
	var b bytes.Buffer
	for _, f := range s.order {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", f.name, f.help, f.name, f.kind)
		b.Write(f.lines.Bytes())
	}
	_, err := w.Write(b.Bytes())
	return err
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// real is what stands in a figure: int64, int or float64.
type real interface{ ~int | ~int64 | ~float64 }

// scaled adds a figure times a factor, if there is one.
func scaled[T real](f *family, v *T, factor float64, labels ...[]pair) {
	if v != nil {
		f.add(float64(*v)*factor, labels...)
	}
}

const mib = 1.0 / (1 << 20)

func gpuMetrics(s *set, base []pair, sample *gpu.Sample, g *gpu.GPU) {
	l := slices.Concat([]pair{{"gpu", strconv.Itoa(g.Index)}, {"UUID", g.UUID}, {"pci_bus_id", g.PCI},
		{"device", "nvidia" + strconv.Itoa(g.Index)}, {"modelName", g.Name}}, base,
		[]pair{{"DCGM_FI_DRIVER_VERSION", sample.DriverVersion}})
	gauge := func(name, help string) *family { return s.family(name, "gauge", help) }
	counter := func(name, help string) *family { return s.family(name, "counter", help) }
	s.family("berth_gpu_ok", "gauge", "Whether the GPU gives figures.").add(flag(g.Error == "" &&
		sample.GPUsStaleSince == nil), l)
	if sample.GPUsStaleSince != nil {
		return // what was read then would be kept as measured now
	}
	scaled(gauge("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %)."), g.Utilization, 1, l)
	scaled(gauge("DCGM_FI_DEV_MEM_COPY_UTIL", "Memory utilization (in %)."), g.MemoryUtilization, 1, l)
	scaled(gauge("DCGM_FI_DEV_ENC_UTIL", "Encoder utilization (in %)."), g.Encoder, 1, l)
	scaled(gauge("DCGM_FI_DEV_DEC_UTIL", "Decoder utilization (in %)."), g.Decoder, 1, l)
	scaled(gauge("DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB)."), g.MemoryUsed, mib, l)
	if g.Unified {
		gauge("berth_gpu_memory_unified", "The GPU shares the host's memory: its framebuffer figures are the host's.").add(1, l)
	}
	scaled(gauge("DCGM_FI_DEV_FB_RESERVED", "Framebuffer memory reserved (in MiB)."), g.MemoryReserved, mib, l)
	if g.MemoryTotal != nil && g.MemoryUsed != nil {
		free := *g.MemoryTotal - *g.MemoryUsed
		if g.MemoryReserved != nil {
			free -= *g.MemoryReserved
		}
		gauge("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).").add(float64(free)*mib, l)
	}
	scaled(gauge("DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C)."), g.Temperature, 1, l)
	scaled(gauge("DCGM_FI_DEV_MEMORY_TEMP", "Memory temperature (in C)."), g.MemoryTemperature, 1, l)
	scaled(gauge("DCGM_FI_DEV_FAN_SPEED", "Fan speed (in %)."), g.Fan, 1, l)
	scaled(gauge("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W)."), g.Power, 1, l)
	scaled(gauge("DCGM_FI_DEV_ENFORCED_POWER_LIMIT", "Power limit that is enforced (in W)."), g.PowerLimit, 1, l)
	scaled(counter("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "Total energy consumption since boot (in mJ)."), g.Energy, 1000,
		l)
	scaled(gauge("DCGM_FI_DEV_SM_CLOCK", "SM clock frequency (in MHz)."), g.SMClock, 1, l)
	scaled(gauge("DCGM_FI_DEV_MEM_CLOCK", "Memory clock frequency (in MHz)."), g.MemoryClock, 1, l)
	if g.LastXID != nil {
		gauge("DCGM_FI_DEV_XID_ERRORS", "Value of the last XID error encountered.").add(float64(g.LastXID.Code), l)
	}
	if e := g.ECC; e != nil {
		scaled(counter("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", "Single-bit volatile ECC errors."), e.Corrected, 1, l)
		scaled(counter("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "Double-bit volatile ECC errors."), e.Uncorrected, 1, l)
		scaled(counter("DCGM_FI_DEV_ECC_SBE_AGG_TOTAL", "Single-bit persistent ECC errors."), e.AggregateCorrected, 1, l)
		scaled(counter("DCGM_FI_DEV_ECC_DBE_AGG_TOTAL", "Double-bit persistent ECC errors."), e.AggregateUncorrected, 1, l)
		scaled(counter("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", "Remapped rows for correctable errors."),
			e.RemappedCorrectable, 1, l)
		scaled(counter("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "Remapped rows for uncorrectable errors."),
			e.RemappedUncorrected, 1, l)
		if e.RemapFailed != nil {
			gauge("DCGM_FI_DEV_ROW_REMAP_FAILURE", "Whether remapping of rows has failed.").add(flag(*e.RemapFailed), l)
		}
	}
	scaled(gauge("berth_gpu_pcie_receive_bytes_per_second", "Traffic over PCIe into the GPU."), g.PCIeRx, 1, l)
	scaled(gauge("berth_gpu_pcie_transmit_bytes_per_second", "Traffic over PCIe out of the GPU."), g.PCIeTx, 1, l)
	scaled(gauge("berth_gpu_nvlink_receive_bytes_per_second", "Traffic over all NVLinks into the GPU."), g.NVLinkRx, 1, l)
	scaled(gauge("berth_gpu_nvlink_transmit_bytes_per_second", "Traffic over all NVLinks out of the GPU."), g.NVLinkTx, 1,
		l)
	for _, m := range g.MIG {
		part := []pair{{"GPU_I_PROFILE", m.Profile}, {"GPU_I_ID", strconv.Itoa(m.GPUInstance)}}
		scaled(gauge("DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB)."), m.MemoryUsed, mib, l, part)
		if m.MemoryTotal != nil && m.MemoryUsed != nil {
			gauge("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).").add(float64(*m.MemoryTotal-*m.MemoryUsed)*mib, l,
				part)
		}
	}
	for _, why := range g.Throttle {
		gauge("berth_gpu_throttled", "A reason why the clocks are held back.").add(1, l, []pair{{"reason", why}})
	}
}

func hostMetrics(s *set, base []pair, m *gpu.Sample) {
	gauge := func(name, help string) *family { return s.family(name, "gauge", help) }
	gauge("berth_sampled_timestamp_seconds",
		"When the figures were read.").add(float64(m.SampledAt.UnixNano())/float64(time.Second), base)
	scaled(gauge("berth_cpu_percent", "Share of all cores in use."), m.CPU, 1, base)
	scaled(gauge("berth_load1", "Load average of one minute."), m.Load1, 1, base)
	scaled(gauge("berth_memory_used_bytes", "Memory in use, without caches."), m.MemoryUsed, 1, base)
	scaled(gauge("berth_memory_available_bytes", "Memory that programs can have."), m.MemoryAvailable, 1, base)
	scaled(gauge("berth_memory_total_bytes", "Memory."), m.MemoryTotal, 1, base)
	scaled(gauge("berth_swap_used_bytes", "Swap in use."), m.SwapUsed, 1, base)
	if p := m.Pressure; p != nil {
		f := gauge("berth_pressure_percent", "Share of the last 10 s in which some process waited.")
		f.add(p.CPU, base, []pair{{"resource", "cpu"}})
		f.add(p.Memory, base, []pair{{"resource", "memory"}})
		f.add(p.IO, base, []pair{{"resource", "io"}})
	}
	for i := range m.Networks {
		n := &m.Networks[i]
		l := []pair{{"interface", n.Name}}
		scaled(gauge("berth_network_receive_bytes_per_second", "Traffic into an interface."), n.Rx, 1, base, l)
		scaled(gauge("berth_network_transmit_bytes_per_second", "Traffic out of an interface."), n.Tx, 1, base, l)
	}
	for i := range m.Disks {
		d := &m.Disks[i]
		l := []pair{{"mountpoint", d.Mount}, {"device", d.Device}, {"fstype", d.Filesystem}}
		scaled(gauge("berth_disk_total_bytes", "Size of a file system."), d.Total, 1, base, l)
		scaled(gauge("berth_disk_used_bytes", "Space in use."), d.Used, 1, base, l)
		scaled(gauge("berth_disk_available_bytes", "Space that users without root can have."), d.Available, 1, base, l)
		scaled(gauge("berth_disk_inodes_used_percent", "Share of the files that there can be."), d.InodesUsed, 1, base, l)
		gauge("berth_disk_answers", "Whether the file system answers.").add(flag(d.StaleSince == nil), base, l)
	}
	for i := range m.Attention {
		f := &m.Attention[i]
		gauge("berth_attention", "What wants somebody's attention.").add(1, base, []pair{{"rule", f.Rule},
			{"subject", f.Subject}, {"severity", f.Severity}})
	}
}
