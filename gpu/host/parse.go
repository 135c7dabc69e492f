package host

import (
	"bytes"
	"strconv"
	"strings"

	"berth/gpu/host/procfile"
)

// cpuTimes are user, nice, system, idle, iowait, irq, softirq and steal, in clock ticks. What guests use is
// part of user.
type cpuTimes [8]uint64

const (
	cpuIdle   = 3
	cpuIOWait = 4
	cpuSteal  = 7
)

// since returns the differences; a time that went backwards (iowait does) counts as none.
func (c cpuTimes) since(before cpuTimes) (d cpuTimes, total uint64) {
	for i := range c {
		if c[i] > before[i] {
			d[i] = c[i] - before[i]
			total += d[i]
		}
	}
	return d, total
}

// busy is what is neither idle nor waiting for a disk; what the hypervisor took counts as busy, as in htop.
func (c cpuTimes) busy(total uint64) float64 {
	return 100 * float64(total-c[cpuIdle]-c[cpuIOWait]) / float64(total)
}

type core struct {
	number int
	times  cpuTimes
}

// parseCPU reads the processor times of /proc/stat into cores, which it uses again.
func parseCPU(b []byte, cores []core) (all cpuTimes, out []core, ok bool) {
	out = cores[:0]
	for len(b) > 0 {
		var line []byte
		line, b = procfile.Line(b)
		name, rest := procfile.Next(line)
		num, isCPU := bytes.CutPrefix(name, []byte("cpu"))
		if !isCPU {
			break // they come first
		}
		var t cpuTimes
		for i := range t {
			var word []byte
			word, rest = procfile.Next(rest)
			t[i], _ = procfile.Uint(word) // a kernel without a column: 0
			t[i] &= 1<<56 - 1             // sums of eight don't overflow
		}
		if len(num) == 0 {
			all, ok = t, true
		} else if n, isNum := procfile.Uint(num); isNum && n < 1<<20 {
			out = append(out, core{int(n), t})
		}
	}
	return all, out, ok
}

// parseFloats reads leading numbers, as in /proc/loadavg and /proc/uptime.
func parseFloats(b []byte, n int) []float64 {
	out := make([]float64, 0, n)
	for len(out) < n {
		var w []byte
		w, b = procfile.Next(b)
		f, err := strconv.ParseFloat(string(w), 64)
		if err != nil || f < 0 || f > 1e15 || f != f {
			return nil
		}
		out = append(out, f)
	}
	return out
}

// parsePressure reads avg10 of the line "some" of a PSI file.
func parsePressure(b []byte) (float64, bool) {
	line, _ := procfile.Line(b)
	word, rest := procfile.Next(line)
	if string(word) != "some" {
		return 0, false
	}
	for len(rest) > 0 {
		if word, rest = procfile.Next(rest); len(word) == 0 {
			break
		}
		if v, ok := bytes.CutPrefix(word, []byte("avg10=")); ok {
			f, err := strconv.ParseFloat(string(v), 64)
			return f, err == nil && f >= 0 && f <= 100
		}
	}
	return 0, false
}

// memory is what is used of /proc/meminfo, in bytes.
type memory struct {
	total, free, available, buffers, cached, reclaimable, swapTotal, swapFree uint64
	hasAvailable                                                              bool
}

func parseMeminfo(b []byte) (m memory, ok bool) {
	procfile.Keyed(b, func(key []byte, v uint64) {
		switch string(key) {
		case "MemTotal":
			m.total, ok = v, true
		case "MemFree":
			m.free = v
		case "MemAvailable":
			m.available, m.hasAvailable = v, true
		case "Buffers":
			m.buffers = v
		case "Cached":
			m.cached = v
		case "SReclaimable":
			m.reclaimable = v
		case "SwapTotal":
			m.swapTotal = v
		case "SwapFree":
			m.swapFree = v
		}
	})
	cache := m.buffers + m.cached + m.reclaimable
	if !m.hasAvailable { // kernels before 3.14
		m.available = m.free + cache
	}
	m.available = min(m.available, m.total)
	m.swapFree = min(m.swapFree, m.swapTotal)
	m.cached = min(cache, m.total)
	return m, ok && m.total > 0
}

// counters are two byte counters of an interface or a block device, and the milliseconds it was busy.
type counters struct {
	name    string
	in, out uint64
	busy    uint64
}

// parseNetwork reads /proc/net/dev into out, which it uses again.
func parseNetwork(b []byte, out []counters) []counters {
	old := out
	out = out[:0]
	for len(b) > 0 {
		var line []byte
		line, b = procfile.Line(b)
		i := bytes.LastIndexByte(line, ':')
		if i < 0 {
			continue
		}
		name, rest := bytes.TrimSpace(line[:i]), line[i+1:]
		var f [9]uint64
		ok := len(name) > 0
		for j := range f {
			var w []byte
			w, rest = procfile.Next(rest)
			var isNum bool
			f[j], isNum = procfile.Uint(w)
			ok = ok && isNum
		}
		if ok {
			out = append(out, counters{name: sameName(old, len(out), name), in: f[0], out: f[8]})
		}
	}
	return out
}

const sector = 512 // bytes, in /proc/diskstats whatever the device has

// parseDiskstats reads /proc/diskstats into out, which it uses again. in is read, out written.
func parseDiskstats(b []byte, out []counters) []counters {
	old := out
	out = out[:0]
	for len(b) > 0 {
		var line []byte
		line, b = procfile.Line(b)
		_, rest := procfile.Next(line)
		_, rest = procfile.Next(rest)
		name, rest := procfile.Next(rest)
		var f [10]uint64 // reads, merged, sectors, ms, writes, merged, sectors, ms, in flight, ms busy
		ok := len(name) > 0
		for j := range f {
			var w []byte
			w, rest = procfile.Next(rest)
			var isNum bool
			f[j], isNum = procfile.Uint(w)
			ok = ok && isNum
		}
		if ok && f[2] < 1<<55 && f[6] < 1<<55 {
			out = append(out, counters{name: sameName(old, len(out), name), in: f[2] * sector, out: f[6] * sector, busy: f[9]})
		}
	}
	return out
}

// sameName saves making a string where the list is as it was.
func sameName(old []counters, i int, name []byte) string {
	if i < cap(old) {
		if n := old[:cap(old)][i].name; n == string(name) {
			return n
		}
	}
	return string(name)
}

// parseCPUList reads "0-3,8,10-11". It returns nil for what is empty or no such list.
func parseCPUList(s string) map[int]bool {
	out := map[int]bool{}
	for part := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(from)
		if err != nil || a < 0 {
			return nil
		}
		b := a
		if isRange {
			if b, err = strconv.Atoi(to); err != nil {
				return nil
			}
		}
		if b < a || b > 1<<16 {
			return nil
		}
		for ; a <= b; a++ {
			out[a] = true
		}
	}
	return out
}
