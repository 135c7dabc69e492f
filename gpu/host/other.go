//go:build !linux

package host

import (
	"runtime"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	psdisk "github.com/shirou/gopsutil/v4/disk"
	psutil "github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"

	"golang.org/x/sys/unix"

	"berth/gpu"
)

// system is what is remembered between two readings.
type system struct {
	at    time.Duration
	known bool
	cores []cpu.TimesStat
	net   map[string]net.IOCountersStat
}

func (s *system) init(r *Reader) {
	if r.o.Mounts == nil {
		r.o.Mounts = mounts
	}
}

func (s *system) close() {}

func (r *Reader) host() gpu.Host {
	var h gpu.Host
	s := &r.os
	now := r.o.Elapsed()
	passed := now - s.at
	if cores, err := cpu.Times(true); err == nil {
		if s.known && len(cores) == len(s.cores) {
			var sum float64
			for i, c := range cores {
				total, idle := all(c)-all(s.cores[i]), c.Idle-s.cores[i].Idle
				v := 0.0
				if total > 0 {
					v = min(100, max(0, 100*(total-idle)/total))
				}
				h.Cores = append(h.Cores, v)
				sum += v
			}
			h.CPU = ptr(sum / float64(len(cores)))
		}
		s.cores = cores
	}
	if l, err := load.Avg(); err == nil {
		h.Load1, h.Load5, h.Load15 = &l.Load1, &l.Load5, &l.Load15
	}
	if u, err := psutil.Uptime(); err == nil {
		h.Uptime = float64(u)
	}
	if m, err := mem.VirtualMemory(); err == nil && m.Total > 0 {
		h.MemoryTotal, h.MemoryAvailable = ptr(int64(m.Total)), ptr(int64(m.Available))
		h.MemoryUsed = ptr(int64(m.Total - min(m.Available, m.Total)))
	}
	if m, err := mem.SwapMemory(); err == nil {
		h.SwapTotal, h.SwapUsed = ptr(int64(m.Total)), ptr(int64(m.Used))
	}
	if list, err := net.IOCounters(true); err == nil {
		next := map[string]net.IOCountersStat{}
		for _, c := range list {
			if !strings.HasPrefix(c.Name, "en") || c.BytesRecv+c.BytesSent == 0 {
				continue // Ethernet and wireless; the rest never leaves the machine
			}
			n := gpu.Network{Name: c.Name}
			if b, ok := s.net[c.Name]; ok {
				n.Rx, n.Tx = rate(b.BytesRecv, c.BytesRecv, 1, passed), rate(b.BytesSent, c.BytesSent, 1, passed)
			}
			next[c.Name] = c
			h.Networks = append(h.Networks, n)
		}
		s.net = next
	}
	s.at, s.known = now, true
	return h
}

func all(c cpu.TimesStat) float64 {
	return c.User + c.System + c.Idle + c.Nice + c.Iowait + c.Irq + c.Softirq + c.Steal
}

func mounts() ([]Mount, error) {
	parts, err := psdisk.Partitions(false)
	if err != nil {
		return nil, err
	}
	var out []Mount
	for i, p := range parts {
		if runtime.GOOS == "darwin" && strings.HasPrefix(p.Mountpoint, "/System/Volumes/") &&
			p.Mountpoint != "/System/Volumes/Data" {
			continue // parts of the system's own volume
		}
		out = append(out, Mount{ID: i + 1, Device: p.Device, Root: "/", Point: p.Mountpoint, Options: strings.Join(p.Opts,
			","), Type: p.Fstype, Source: p.Device})
	}
	return out, nil
}

func statfs(mount string) (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(mount, &s); err != nil {
		return Space{}, err
	}
	unit := int64(s.Bsize)
	return Space{Total: int64(s.Blocks) * unit, Free: int64(s.Bfree) * unit, Available: int64(s.Bavail) * unit,
		Inodes: s.Files, InodesFree: uint64(s.Ffree)}, nil
}
