package smi

import (
	"encoding/csv"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"berth/gpu"
	"berth/gpu/nvml"
)

const (
	maxLine = 16 << 10
	maxGPUs = 64
)

// row is one line of the stream.
type row struct {
	gpu    gpu.GPU
	driver string
	count  int // how many GPUs there are
	ecc    bool
	errors gpu.ECC
}

// column is a field that is asked for, and where its value goes.
type column struct {
	field string
	set   func(r *row, v string) error
}

// columns are all that are asked for, unless this nvidia-smi says that it does not know one. The first four must be
// there.
var columns = []column{
	{"index", func(r *row, v string) (err error) {
		r.gpu.Index, err = strconv.Atoi(v)
		if err == nil && (r.gpu.Index < 0 || r.gpu.Index >= maxGPUs) {
			err = errors.New("out of range")
		}
		return err
	}},
	{"count", func(r *row, v string) (err error) { r.count, err = strconv.Atoi(v); return err }},
	{"uuid", func(r *row, v string) error { r.gpu.UUID = v; return nil }},
	{"name", func(r *row, v string) error { r.gpu.Name = v; return nil }},
	{"pci.bus_id", func(r *row, v string) error { r.gpu.PCI = v; return nil }},
	{"driver_version", func(r *row, v string) error { r.driver = v; return nil }},
	{"utilization.gpu", number(func(r *row) **float64 { return &r.gpu.Utilization })},
	{"utilization.memory", number(func(r *row) **float64 { return &r.gpu.MemoryUtilization })},
	{"memory.total", mebibytes(func(r *row) **int64 { return &r.gpu.MemoryTotal })},
	{"memory.reserved", mebibytes(func(r *row) **int64 { return &r.gpu.MemoryReserved })},
	{"memory.used", mebibytes(func(r *row) **int64 { return &r.gpu.MemoryUsed })},
	{"temperature.gpu", number(func(r *row) **float64 { return &r.gpu.Temperature })},
	{"temperature.memory", number(func(r *row) **float64 { return &r.gpu.MemoryTemperature })},
	{"fan.speed", number(func(r *row) **float64 { return &r.gpu.Fan })},
	{"power.draw", number(func(r *row) **float64 { return &r.gpu.Power })},
	{"enforced.power.limit", number(func(r *row) **float64 { return &r.gpu.PowerLimit })},
	{"clocks.sm", number(func(r *row) **float64 { return &r.gpu.SMClock })},
	{"clocks.mem", number(func(r *row) **float64 { return &r.gpu.MemoryClock })},
	{"clocks.max.sm", number(func(r *row) **float64 { return &r.gpu.MaxSMClock })},
	{"clocks.max.memory", number(func(r *row) **float64 { return &r.gpu.MaxMemoryClock })},
	{"pstate", func(r *row, v string) error {
		if n, err := strconv.Atoi(strings.TrimPrefix(v, "P")); err != nil || n < 0 || n > 15 {
			return errors.New("not P0 to P15")
		}
		r.gpu.PerformanceState = v
		return nil
	}},
	{"clocks_throttle_reasons.active", func(r *row, v string) error {
		bits, err := strconv.ParseUint(v, 0, 64)
		if err == nil {
			r.gpu.Throttle = nvml.Reasons(bits)
		}
		return err
	}},
	{"utilization.encoder", number(func(r *row) **float64 { return &r.gpu.Encoder })},
	{"utilization.decoder", number(func(r *row) **float64 { return &r.gpu.Decoder })},
	{"pcie.link.gen.current", integer(func(r *row) **int { return &r.gpu.PCIeGeneration })},
	{"pcie.link.width.current", integer(func(r *row) **int { return &r.gpu.PCIeWidth })},
	{"persistence_mode", flag(func(r *row) **bool { return &r.gpu.Persistence })},
	{"compute_mode", func(r *row, v string) error {
		r.gpu.ComputeMode = strings.ToLower(strings.ReplaceAll(v, "_", " "))
		return nil
	}},
	{"mig.mode.current", flag(func(r *row) **bool { return &r.gpu.MIGEnabled })},
	{"ecc.mode.current", func(r *row, v string) error { r.ecc = v == "Enabled"; return nil }},
	{"ecc.errors.corrected.volatile.total", count(func(r *row) **int64 { return &r.errors.Corrected })},
	{"ecc.errors.uncorrected.volatile.total", count(func(r *row) **int64 { return &r.errors.Uncorrected })},
	{"ecc.errors.corrected.aggregate.total", count(func(r *row) **int64 { return &r.errors.AggregateCorrected })},
	{"ecc.errors.uncorrected.aggregate.total", count(func(r *row) **int64 { return &r.errors.AggregateUncorrected })},
}

func number(at func(*row) **float64) func(*row, string) error {
	return func(r *row, v string) error {
		f, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return err
		}
		if !(f >= -300 && f < 1e12) {
			return errors.New("out of range")
		}
		*at(r) = &f
		return nil
	}
}

func count(at func(*row) **int64) func(*row, string) error {
	return func(r *row, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err == nil && n < 0 {
			err = errors.New("below zero")
		}
		if err == nil {
			*at(r) = &n
		}
		return err
	}
}

func mebibytes(at func(*row) **int64) func(*row, string) error {
	return func(r *row, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err == nil && (n < 0 || n > 1<<40) {
			err = errors.New("out of range")
		}
		if err == nil {
			n <<= 20
			*at(r) = &n
		}
		return err
	}
}

func integer(at func(*row) **int) func(*row, string) error {
	return func(r *row, v string) error {
		n, err := strconv.Atoi(v)
		if err == nil && (n < 0 || n > 1<<20) {
			err = errors.New("out of range")
		}
		if err == nil {
			*at(r) = &n
		}
		return err
	}
}

func flag(at func(*row) **bool) func(*row, string) error {
	return func(r *row, v string) error {
		var b bool
		switch v {
		case "Enabled":
			b = true
		case "Disabled":
		default:
			return fmt.Errorf("neither Enabled nor Disabled")
		}
		*at(r) = &b
		return nil
	}
}

// parseLine reads a line of the stream whose columns are cols.
func parseLine(line string, cols []column) (row, error) {
	if len(line) > maxLine {
		return row{}, fmt.Errorf("a line of %d bytes", len(line))
	}
	c := csv.NewReader(strings.NewReader(line))
	c.TrimLeadingSpace, c.LazyQuotes, c.FieldsPerRecord = true, true, len(cols)
	fields, err := c.Read()
	if err != nil {
		return row{}, fmt.Errorf("reading %.80q: %w", line, err)
	}
	var r row
	for i, v := range fields {
		v = strings.TrimSpace(v)
		if unsupported(v) {
			switch {
			case cols[i].field == "index" || cols[i].field == "count" || cols[i].field == "uuid":
				return row{}, fmt.Errorf("reading %.80q: no %s", line, cols[i].field)
			case strings.Contains(v, "lost") || strings.Contains(v, "reset"):
				r.gpu.Error = "nvidia-smi says of it: " + strings.Trim(v, "[]")
			case cols[i].field == "memory.total":
				r.gpu.Unified = gpu.NoMemory(v)
			}
			continue
		}
		if err := cols[i].set(&r, v); err != nil {
			return row{}, fmt.Errorf("reading %.80q: %s is %.40q: %w", line, cols[i].field, v, err)
		}
	}
	// One that tells of something else has no memory of its own; one that tells nothing is not known.
	r.gpu.Unified = r.gpu.Unified && (r.gpu.Utilization != nil || r.gpu.Temperature != nil)
	if r.ecc && r.errors != (gpu.ECC{}) {
		r.gpu.ECC = &r.errors
	}
	if r.gpu.Error != "" {
		r.gpu = gpu.GPU{Index: r.gpu.Index, UUID: r.gpu.UUID, Name: r.gpu.Name, PCI: r.gpu.PCI, Error: r.gpu.Error}
	}
	return r, nil
}

// unsupported says whether a value is one of the words for "not known".
func unsupported(v string) bool {
	return v == "" || v == "N/A" || strings.HasPrefix(v, "[") && strings.HasSuffix(v, "]")
}

// parseApps reads the list of processes: UUID, PID, MiB.
func parseApps(out string, index map[string]int) []gpu.GPUProcess {
	var list []gpu.GPUProcess
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), ",")
		if len(f) != 3 || len(list) >= 4096 {
			continue
		}
		i, known := index[strings.TrimSpace(f[0])]
		pid, err := strconv.Atoi(strings.TrimSpace(f[1]))
		if !known || err != nil || pid <= 0 {
			continue
		}
		p := gpu.GPUProcess{PID: pid, GPU: i, Kind: "compute"}
		if mib, err := strconv.ParseInt(strings.TrimSpace(f[2]), 10, 64); err == nil && mib >= 0 && mib < 1<<40 {
			mib <<= 20
			p.Memory = &mib
		}
		list = append(list, p)
	}
	return list
}

var badField = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`Field "([a-z0-9_.]+)" is not a valid field to query`)
})

// unknownField is the column that this nvidia-smi does not know, if a line says so.
func unknownField(line string) string {
	if m := badField().FindStringSubmatch(line); m != nil {
		return m[1]
	}
	return ""
}

// complaint turns what nvidia-smi says when it fails into an error; nil: a line that says nothing of that kind.
func complaint(line string) error {
	switch {
	case strings.Contains(line, "version mismatch"):
		return nvml.Failure(nvml.VersionMismatch, "")
	case strings.Contains(line, "couldn't communicate with the NVIDIA driver"), strings.Contains(line,
		"Driver Not Loaded"):
		return nvml.Failure(nvml.DriverNotLoaded, "")
	case strings.Contains(line, "Insufficient Permissions"), strings.Contains(line, "blocked by the operating system"):
		return nvml.Failure(nvml.NoPermission, "")
	case strings.HasPrefix(line, "Failed to initialize NVML"):
		return fmt.Errorf("%w: nvidia-smi says %.200q", nvml.ErrDriver, line)
	}
	return nil
}
