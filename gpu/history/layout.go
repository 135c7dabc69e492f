package history

import (
	"encoding/binary"
	"math"

	"berth/gpu"
)

// encoding is how a column is stored. All ones means: not measured.
type encoding int

const (
	percent    encoding = iota // 16 bits, 0 to 109
	tenths                     // 16 bits, 0 to 6553.4
	celsius                    // 16 bits, -100 to 555 in hundredths
	rate                       // 16 bits: 11 of precision and an exponent; 0 to 4e12
	hundredths                 // as rate, of hundredths
	size                       // 32 bits: a float
)

func (e encoding) width() int {
	if e == size {
		return 4
	}
	return 2
}

const none16, none32 = math.MaxUint16, math.MaxUint32

func (e encoding) put(b []byte, v float64) {
	if e == size {
		u := uint32(none32)
		if !math.IsNaN(v) {
			u = math.Float32bits(float32(v))
		}
		binary.LittleEndian.PutUint32(b, u)
		return
	}
	u := uint16(none16)
	switch {
	case math.IsNaN(v):
	case e == percent:
		u = scaled(v * 600)
	case e == tenths:
		u = scaled(v * 10)
	case e == celsius:
		u = scaled((v + 100) * 100)
	case e == rate:
		u = packed(v)
	case e == hundredths:
		u = packed(v * 100)
	}
	binary.LittleEndian.PutUint16(b, u)
}

func (e encoding) get(b []byte) float64 {
	if e == size {
		u := binary.LittleEndian.Uint32(b)
		if u == none32 {
			return math.NaN()
		}
		return float64(math.Float32frombits(u))
	}
	u := binary.LittleEndian.Uint16(b)
	if u == none16 {
		return math.NaN()
	}
	switch e {
	case percent:
		return float64(u) / 600
	case tenths:
		return float64(u) / 10
	case celsius:
		return float64(u)/100 - 100
	case hundredths:
		return unpacked(u) / 100
	}
	return unpacked(u)
}

func scaled(v float64) uint16 { return uint16(math.Round(min(max(v, 0), none16-1))) }

// packed keeps 11 bits of a whole number and how far they are shifted.
func packed(v float64) uint16 {
	if v < 0 {
		v = 0
	}
	if v > 2046*(1<<31) {
		v = 2046 * (1 << 31)
	}
	n, e := uint64(math.Round(v)), 0
	for n >= 2048 {
		n = (n + 1) >> 1
		e++
	}
	if e > 31 {
		e, n = 31, 2046
	}
	return min(uint16(e)<<11|uint16(n), none16-1)
}

func unpacked(u uint16) float64 { return float64(uint64(u&2047) << (u >> 11)) }

// column is one figure of a slot. Where max is false only the mean is kept.
type column struct {
	metric string
	enc    encoding
	max    bool
}

// Kinds of slots, in the order in which they stand in a row.
const (
	host = iota
	gpus
	disks
	networks
	devices
	kinds
)

// Order and encodings are part of the file's format: who changes them raises version.
func columns() [kinds][]column {
	return [kinds][]column{
		host: {
			{"cpu_percent", percent, true}, {"iowait_percent", percent, true}, {"steal_percent", percent, true},
			{"load1", hundredths, true}, {"memory_used_bytes", size, true}, {"memory_cache_bytes", size, false},
			{"swap_used_bytes", size, false}, {"swap_in_bytes_per_second", rate, true}, {"swap_out_bytes_per_second", rate,
				true},
			{"pressure_cpu_percent", percent, true}, {"pressure_memory_percent", percent, true}, {"pressure_io_percent", percent,
				true},
		},
		gpus: {
			{"gpu_utilization_percent", percent, true}, {"gpu_memory_used_bytes", size, true}, {"gpu_memory_utilization_percent",
				percent, true},
			{"gpu_temperature_celsius", celsius, true}, {"gpu_power_watts", tenths, true}, {"gpu_sm_clock_mhz", tenths, true},
			{"gpu_pcie_rx_bytes_per_second", rate, true}, {"gpu_pcie_tx_bytes_per_second", rate, true},
			{"gpu_nvlink_rx_bytes_per_second", rate, true}, {"gpu_nvlink_tx_bytes_per_second", rate, true},
		},
		disks: {{"disk_used_bytes", size, false}, {"disk_available_bytes", size, false}, {"disk_inodes_used_percent",
			percent, false}},
		networks: {{"network_rx_bytes_per_second", rate, true}, {"network_tx_bytes_per_second", rate, true}},
		devices: {{"disk_read_bytes_per_second", rate, true}, {"disk_write_bytes_per_second", rate, true},
			{"disk_busy_percent", percent, false}},
	}
}

// derived is made of two others when it is asked for.
const derived = "disk_used_percent"

func kindName(k int) string {
	return [kinds]string{gpu.KindHost, gpu.KindGPU, gpu.KindDisk, gpu.KindNetwork, gpu.KindDevice}[k]
}

// capacity is how many slots of each kind a file has.
type capacity [kinds]uint16

// most bounds what a damaged header, or a host with very much of something, may ask for.
var most = capacity{1, 16, 24, 8, 24}

// layout says where things stand in a row.
type layout struct {
	cap     capacity
	columns [kinds][]column
	offset  [kinds]int // of the first slot
	width   [kinds]int // of one slot
	row     int
	// first is the number of a kind's first column when all columns of all slots are counted.
	first [kinds]int
	cells int
}

// A row is: checksum of the rest (4 bytes), sequence number (8), time in seconds (4), columns.
const rowHeader = 16

func newLayout(c capacity) layout {
	l := layout{cap: c, columns: columns(), row: rowHeader}
	for k := range kinds {
		l.offset[k], l.first[k] = l.row, l.cells
		for _, col := range l.columns[k] {
			l.width[k] += col.enc.width()
			if col.max {
				l.width[k] += col.enc.width()
			}
		}
		l.row += l.width[k] * int(c[k])
		l.cells += len(l.columns[k]) * int(c[k])
	}
	return l
}

// cell is the number of a column of a slot.
func (l *layout) cell(kind, slot, col int) int {
	return l.first[kind] + slot*len(l.columns[kind]) + col
}

// ring is one resolution.
type ring struct {
	step int64 // seconds
	rows int64
	at   int64 // where it begins in the file
}

// fileRings and memoryRings are how much is kept.
func fileRings() []ring {
	return []ring{{step: 1, rows: 900}, {step: 10, rows: 2160}, {step: 60, rows: 43200}}
}
func memoryRings() []ring {
	return []ring{{step: 1, rows: 900}, {step: 10, rows: 2160}, {step: 60, rows: 720}}
}
