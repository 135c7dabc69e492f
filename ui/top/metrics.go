package top

import (
	"fmt"

	"berth/gpu"
	"berth/ui/chart"
	"berth/ui/money"
	"berth/ui/theme"
)

// metric is one thing that has a history.
type metric struct {
	name, title string
	unit        string  // one of package money, "bytes", "bytes/s", ""
	top         float64 // of the axis; 0: from the data
	much        bool    // much of it is bad
	now         func(s *gpu.Sample, k item) *float64
}

func (m *metric) label(v float64) string {
	switch m.unit {
	case "bytes":
		return size(v)
	case "bytes/s":
		return size(v) + "/s"
	case "":
		return money.Figure(&v, "")
	}
	return money.Figure(&v, m.unit)
}

func (m *metric) style(t *theme.Theme) func(float64) theme.Style {
	if !m.much || m.unit != money.Percent {
		return func(float64) theme.Style { return t.Good }
	}
	return func(v float64) theme.Style { return chart.Heat(t, v) }
}

func ofGPU(get func(g *gpu.GPU) *float64) func(*gpu.Sample, item) *float64 {
	return func(s *gpu.Sample, k item) *float64 {
		for i := range s.GPUs {
			if gpuName(&s.GPUs[i]) == k.subject {
				return get(&s.GPUs[i])
			}
		}
		return nil
	}
}

func ofDisk(get func(d *gpu.Disk) *float64) func(*gpu.Sample, item) *float64 {
	return func(s *gpu.Sample, k item) *float64 {
		for i := range s.Disks {
			if s.Disks[i].Mount == k.subject {
				return get(&s.Disks[i])
			}
		}
		return nil
	}
}

func ofNetwork(get func(n *gpu.Network) *float64) func(*gpu.Sample, item) *float64 {
	return func(s *gpu.Sample, k item) *float64 {
		for i := range s.Networks {
			if s.Networks[i].Name == k.subject {
				return get(&s.Networks[i])
			}
		}
		return nil
	}
}

func ofDevice(get func(d *gpu.BlockRate) *float64) func(*gpu.Sample, item) *float64 {
	return func(s *gpu.Sample, k item) *float64 {
		for i := range s.Devices {
			if s.Devices[i].Name == k.subject {
				return get(&s.Devices[i])
			}
		}
		return nil
	}
}

func pressure(get func(p *gpu.Pressure) *float64) func(*gpu.Sample, item) *float64 {
	return func(s *gpu.Sample, _ item) *float64 {
		if s.Pressure == nil {
			return nil
		}
		return get(s.Pressure)
	}
}

func float(v *int64) *float64 {
	if v == nil {
		return nil
	}
	f := float64(*v)
	return &f
}

// metrics are what can be drawn of each kind of thing, the first by itself.
var metrics = map[kind][]metric{
	gpuItem: {
		{name: "gpu_utilization_percent", title: "utilisation", unit: money.Percent, top: 100,
			now: ofGPU(func(g *gpu.GPU) *float64 { return g.Utilization })},
		{name: "gpu_memory_used_bytes", title: "memory", unit: "bytes",
			now: ofGPU(func(g *gpu.GPU) *float64 { return float(g.MemoryUsed) })},
		{name: "gpu_temperature_celsius", title: "temperature", unit: money.Celsius,
			now: ofGPU(func(g *gpu.GPU) *float64 { return g.Temperature })},
		{name: "gpu_power_watts", title: "power", unit: money.Watt, now: ofGPU(func(g *gpu.GPU) *float64 { return g.Power })},
		{name: "gpu_sm_clock_mhz", title: "SM clock", unit: money.MHz,
			now: ofGPU(func(g *gpu.GPU) *float64 { return g.SMClock })},
		{name: "gpu_memory_utilization_percent", title: "memory busy", unit: money.Percent, top: 100,
			now: ofGPU(func(g *gpu.GPU) *float64 { return g.MemoryUtilization })},
		{name: "gpu_pcie_rx_bytes_per_second", title: "PCIe in", unit: "bytes/s",
			now: ofGPU(func(g *gpu.GPU) *float64 { return float(g.PCIeRx) })},
		{name: "gpu_pcie_tx_bytes_per_second", title: "PCIe out", unit: "bytes/s",
			now: ofGPU(func(g *gpu.GPU) *float64 { return float(g.PCIeTx) })},
		{name: "gpu_nvlink_rx_bytes_per_second", title: "NVLink in", unit: "bytes/s",
			now: ofGPU(func(g *gpu.GPU) *float64 { return float(g.NVLinkRx) })},
		{name: "gpu_nvlink_tx_bytes_per_second", title: "NVLink out", unit: "bytes/s",
			now: ofGPU(func(g *gpu.GPU) *float64 { return float(g.NVLinkTx) })},
	},
	cpuItem: {
		{name: "cpu_percent", title: "CPU", unit: money.Percent, top: 100, much: true, now: func(s *gpu.Sample, _ item) *float64 {
			return s.CPU
		}},
		{name: "load1", title: "load", now: func(s *gpu.Sample, _ item) *float64 { return s.Load1 }},
		{name: "iowait_percent", title: "waiting for I/O", unit: money.Percent, top: 100, much: true, now: func(s *gpu.Sample,
			_ item) *float64 {
			return s.IOWait
		}},
		{name: "steal_percent", title: "taken by the hypervisor", unit: money.Percent, top: 100, much: true, now: func(s *gpu.Sample,
			_ item) *float64 {
			return s.Steal
		}},
		{name: "pressure_cpu_percent", title: "pressure on CPUs", unit: money.Percent, top: 100, much: true,
			now: pressure(func(p *gpu.Pressure) *float64 { return &p.CPU })},
		{name: "pressure_io_percent", title: "pressure on I/O", unit: money.Percent, top: 100, much: true,
			now: pressure(func(p *gpu.Pressure) *float64 { return &p.IO })},
	},
	memItem: {
		{name: "memory_used_bytes", title: "memory", unit: "bytes", now: func(s *gpu.Sample, _ item) *float64 {
			return float(s.MemoryUsed)
		}},
		{name: "swap_used_bytes", title: "swap", unit: "bytes", now: func(s *gpu.Sample, _ item) *float64 {
			return float(s.SwapUsed)
		}},
		{name: "memory_cache_bytes", title: "cache", unit: "bytes", now: func(s *gpu.Sample, _ item) *float64 {
			return float(s.MemoryCache)
		}},
		{name: "swap_in_bytes_per_second", title: "read from swap", unit: "bytes/s", now: func(s *gpu.Sample,
			_ item) *float64 {
			return float(s.SwapIn)
		}},
		{name: "swap_out_bytes_per_second", title: "written to swap", unit: "bytes/s", now: func(s *gpu.Sample,
			_ item) *float64 {
			return float(s.SwapOut)
		}},
		{name: "pressure_memory_percent", title: "pressure on memory", unit: money.Percent, top: 100, much: true,
			now: pressure(func(p *gpu.Pressure) *float64 { return &p.Memory })},
	},
	netItem: {
		{name: "network_rx_bytes_per_second", title: "received", unit: "bytes/s",
			now: ofNetwork(func(n *gpu.Network) *float64 { return float(n.Rx) })},
		{name: "network_tx_bytes_per_second", title: "sent", unit: "bytes/s",
			now: ofNetwork(func(n *gpu.Network) *float64 { return float(n.Tx) })},
	},
	devItem: {
		{name: "disk_read_bytes_per_second", title: "read", unit: "bytes/s",
			now: ofDevice(func(d *gpu.BlockRate) *float64 { return float(d.Read) })},
		{name: "disk_write_bytes_per_second", title: "written", unit: "bytes/s",
			now: ofDevice(func(d *gpu.BlockRate) *float64 { return float(d.Write) })},
		{name: "disk_busy_percent", title: "busy", unit: money.Percent, top: 100, much: true,
			now: ofDevice(func(d *gpu.BlockRate) *float64 { return d.Busy })},
	},
	diskItem: {
		{name: "disk_used_percent", title: "used", unit: money.Percent, top: 100, much: true,
			now: ofDisk(func(d *gpu.Disk) *float64 { return d.UsedPercent })},
		{name: "disk_used_bytes", title: "used", unit: "bytes",
			now: ofDisk(func(d *gpu.Disk) *float64 { return float(d.Used) })},
		{name: "disk_available_bytes", title: "available", unit: "bytes",
			now: ofDisk(func(d *gpu.Disk) *float64 { return float(d.Available) })},
		{name: "disk_inodes_used_percent", title: "inodes", unit: money.Percent, top: 100, much: true,
			now: ofDisk(func(d *gpu.Disk) *float64 { return d.InodesUsed })},
	},
}

// title is how a thing and one of its metrics are called above a graph.
func (m *metric) titleOf(k item) string {
	switch k.kind {
	case cpuItem, memItem:
		return m.title
	case gpuItem:
		return fmt.Sprintf("GPU %d %s", k.index, m.title)
	}
	return k.subject + " " + m.title
}
