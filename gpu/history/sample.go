package history

import (
	"fmt"
	"hash/crc32"

	"berth/gpu"
)

// needed is how many slots a sample has.
func needed(s *gpu.Sample) capacity {
	c := capacity{1, uint16(min(len(s.GPUs), 1<<15)), uint16(min(len(s.Disks), 1<<15)),
		uint16(min(len(s.Networks), 1<<15)), uint16(min(len(s.Devices), 1<<15))}
	for k := range c {
		c[k] = min(c[k], most[k])
	}
	return c
}

// spare leaves room for a little more, so that a stick that is plugged in does not make the file anew.
func spare(c capacity) capacity {
	c[disks] = min(max(c[disks]+1, 4), most[disks])
	c[networks] = min(max(c[networks], 2), most[networks])
	c[devices] = min(max(c[devices]+1, 2), most[devices])
	return c
}

func atLeast(a, b capacity) capacity {
	for k := range a {
		a[k] = max(a[k], b[k])
	}
	return a
}

// each gives the figures of a sample, in the order of columns.
func each(s *gpu.Sample, f func(kind int, subject string, index uint16, values []*float64)) {
	var pressure gpu.Pressure
	var psi [3]*float64
	if s.Pressure != nil {
		pressure = *s.Pressure
		psi = [3]*float64{&pressure.CPU, &pressure.Memory, &pressure.IO}
	}
	f(host, "", noGPU, []*float64{s.CPU, s.IOWait, s.Steal, s.Load1, whole(s.MemoryUsed), whole(s.MemoryCache),
		whole(s.SwapUsed), whole(s.SwapIn), whole(s.SwapOut), psi[0], psi[1], psi[2]})
	if s.GPUsStaleSince == nil { // old figures are no history
		for i := range s.GPUs {
			g := &s.GPUs[i]
			name := g.UUID
			if name == "" {
				name = fmt.Sprintf("GPU %d", g.Index)
			}
			f(gpus, name, uint16(min(max(g.Index, 0), noGPU-1)), []*float64{g.Utilization, whole(g.MemoryUsed),
				g.MemoryUtilization, g.Temperature, g.Power, g.SMClock,
				whole(g.PCIeRx), whole(g.PCIeTx), whole(g.NVLinkRx), whole(g.NVLinkTx)})
		}
	}
	for i := range s.Disks {
		if d := &s.Disks[i]; d.StaleSince == nil {
			f(disks, d.Mount, noGPU, []*float64{whole(d.Used), whole(d.Available), d.InodesUsed})
		}
	}
	for i := range s.Networks {
		n := &s.Networks[i]
		f(networks, n.Name, noGPU, []*float64{whole(n.Rx), whole(n.Tx)})
	}
	for i := range s.Devices {
		d := &s.Devices[i]
		f(devices, d.Name, noGPU, []*float64{whole(d.Read), whole(d.Write), d.Busy})
	}
}

func whole(v *int64) *float64 {
	if v == nil {
		return nil
	}
	f := float64(*v)
	return &f
}

// shorten makes a name that fits into the table; what is cut is told by a checksum.
func shorten(s string) string {
	if len(s) <= maxSubject {
		return s
	}
	return s[:maxSubject-10] + fmt.Sprintf("…%07x", crc32.Checksum([]byte(s), castagnoli)&0xfffffff)
}
