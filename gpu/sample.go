package gpu

import (
	"slices"
	"strings"
	"time"
)

// Sample is everything that is measured on one host at one moment. Its JSON form is what `berth top --json`
// prints. A figure that the hardware, the driver or the kernel does not offer is nil, and absent in
// JSON: never 0. Sizes are in bytes, rates in bytes a second, shares in percent from 0 to 100 (of one core,
// for a process: it may exceed 100).
type Sample struct {
	SampledAt time.Time `json:"sampled_at"`
	// GPUs is never nil: a host without any has an empty list, and GPUError says why.
	GPUs []GPU `json:"gpus"`
	// GPUError says why there are no GPUs or no figures of them, in plain words with what to do; empty: all is well.
	GPUError string `json:"gpu_error,omitempty"`
	// GPUSource is where the figures come from: "go-nvml", "nvml" (without cgo) or "nvidia-smi".
	GPUSource string `json:"gpu_source,omitempty"`
	// GPUsStaleSince is when the figures of the GPUs were last read, where newer ones can't be had; GPUError says why.
	GPUsStaleSince *time.Time `json:"gpus_stale_since,omitempty"`
	// GPUsReadAt is when the figures of the GPUs were read.
	GPUsReadAt    time.Time `json:"-"`
	DriverVersion string    `json:"driver_version,omitempty"`
	CUDAVersion   string    `json:"cuda_version,omitempty"` // the newest that the driver supports
	Topology      []Link    `json:"topology,omitempty"`     // between pairs of GPUs, where there are several
	Processes     []Process `json:"processes"`              // those on GPUs first; never nil
	// ProcessCount is how many processes the host has; Processes lists those that use something.
	ProcessCount int `json:"process_count,omitempty"`
	Host
	Disks []Disk `json:"disks"` // never nil
	// Attention is what wants somebody's attention on this host now.
	Attention []Finding `json:"attention,omitempty"`
}

// GPU is what one GPU shows. Where a GPU is lost, Error says so and what is left are its last known names.
type GPU struct {
	Index int    `json:"index"`
	UUID  string `json:"uuid"`
	Name  string `json:"name"`
	PCI   string `json:"pci_bus_id,omitempty"`
	Error string `json:"error,omitempty"` // why this GPU gives no figures

	// share of the last sample period in which a kernel ran
	Utilization       *float64 `json:"utilization_percent,omitempty"`
	MemoryUtilization *float64 `json:"memory_utilization_percent,omitempty"` // share in which memory was read or written
	MemoryUsed        *int64   `json:"memory_used_bytes,omitempty"`          // without what the driver reserves
	MemoryReserved    *int64   `json:"memory_reserved_bytes,omitempty"`
	MemoryTotal       *int64   `json:"memory_total_bytes,omitempty"`
	// Unified says that the GPU has no memory of its own: it shares the host's, which is what the figures above are of.
	Unified bool `json:"unified_memory,omitempty"`

	Temperature         *float64 `json:"temperature_celsius,omitempty"`
	MemoryTemperature   *float64 `json:"memory_temperature_celsius,omitempty"`
	SlowdownTemperature *float64 `json:"slowdown_temperature_celsius,omitempty"` // from here on the GPU slows itself down
	Fan                 *float64 `json:"fan_percent,omitempty"`
	Power               *float64 `json:"power_watts,omitempty"`
	PowerLimit          *float64 `json:"power_limit_watts,omitempty"` // the one enforced now
	Energy              *float64 `json:"energy_joules,omitempty"`     // since the driver was loaded

	SMClock          *float64 `json:"sm_clock_mhz,omitempty"`
	MemoryClock      *float64 `json:"memory_clock_mhz,omitempty"`
	MaxSMClock       *float64 `json:"max_sm_clock_mhz,omitempty"`
	MaxMemoryClock   *float64 `json:"max_memory_clock_mhz,omitempty"`
	PerformanceState string   `json:"performance_state,omitempty"` // "P0" to "P15"
	// Throttle is why the clocks are held back now: "idle", "application clocks", "power cap", "hardware slowdown", "sync
	// boost", "thermal (software)", "thermal (hardware)", "power brake", "display clocks". nil: not supported; empty:
	// nothing holds them.
	Throttle []string `json:"throttle_reasons"`

	Encoder *float64 `json:"encoder_percent,omitempty"`
	Decoder *float64 `json:"decoder_percent,omitempty"`

	PCIeRx         *int64 `json:"pcie_rx_bytes_per_second,omitempty"` // into the GPU
	PCIeTx         *int64 `json:"pcie_tx_bytes_per_second,omitempty"`
	PCIeGeneration *int   `json:"pcie_generation,omitempty"`
	PCIeWidth      *int   `json:"pcie_width,omitempty"`
	NVLinkRx       *int64 `json:"nvlink_rx_bytes_per_second,omitempty"` // over all links
	NVLinkTx       *int64 `json:"nvlink_tx_bytes_per_second,omitempty"`
	NVLinks        *int   `json:"nvlinks,omitempty"` // links that are up

	ECC *ECC `json:"ecc,omitempty"` // nil: none, or switched off
	// Persistence is the driver's persistence mode; without it the first call after a pause takes seconds.
	Persistence *bool  `json:"persistence_mode,omitempty"`
	ComputeMode string `json:"compute_mode,omitempty"` // "default", "exclusive process", "prohibited"
	MIG         []MIG  `json:"mig,omitempty"`
	MIGEnabled  *bool  `json:"mig_enabled,omitempty"`
	LastXID     *XID   `json:"last_xid,omitempty"`
	Use                // of one that is not divided
}

// ECC counts memory errors: Corrected and Uncorrected since the driver was loaded, the rest over the GPU's life.
type ECC struct {
	Corrected            *int64 `json:"corrected,omitempty"`
	Uncorrected          *int64 `json:"uncorrected,omitempty"`
	AggregateCorrected   *int64 `json:"aggregate_corrected,omitempty"`
	AggregateUncorrected *int64 `json:"aggregate_uncorrected,omitempty"`
	RemappedCorrectable  *int64 `json:"remapped_rows_correctable,omitempty"`
	RemappedUncorrected  *int64 `json:"remapped_rows_uncorrectable,omitempty"`
	RemapPending         *bool  `json:"remap_pending,omitempty"` // a reset of the GPU is needed
	RemapFailed          *bool  `json:"remap_failed,omitempty"`  // the GPU should be replaced
}

// MIG is one instance of a GPU that is divided.
type MIG struct {
	Index           int    `json:"index"`
	UUID            string `json:"uuid"`
	Profile         string `json:"profile,omitempty"` // "1g.10gb"
	GPUInstance     int    `json:"gpu_instance"`
	ComputeInstance int    `json:"compute_instance"`
	MemoryUsed      *int64 `json:"memory_used_bytes,omitempty"`
	MemoryTotal     *int64 `json:"memory_total_bytes,omitempty"`
	Use
}

// Use is who has a GPU, or a MIG instance, and who gets it next, as far as a queue of this host knows.
type Use struct {
	Held []Holder `json:"held_by,omitempty"`
	Next *Holder  `json:"next_in_line,omitempty"`
}

// Holder is who has a GPU, or waits for it.
type Holder struct {
	Kind string `json:"kind"` // "job", "service"
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	// Reserved is how much of its memory is kept for it, in bytes: it shares the GPU. 0: it has it for itself.
	Reserved int64 `json:"reserved_bytes,omitempty"`
}

// String is the holder for people: "job 13 (train)".
func (h Holder) String() string {
	s := h.Kind + " " + h.ID
	if h.Name != "" {
		s += " (" + h.Name + ")"
	}
	return s
}

// XID is an error that the driver reported of a GPU.
type XID struct {
	Code    int       `json:"code"`
	At      time.Time `json:"at"`
	Meaning string    `json:"meaning"`
	Advice  string    `json:"advice"` // what to do about it
	// Application says that a program is to blame, not the GPU.
	Application bool `json:"application,omitempty"`
	// Severity says what it means for the GPU: "none", "warning" or "critical".
	Severity string `json:"severity,omitempty"`
}

// Link says how two GPUs are connected, as `nvidia-smi topo` does: "NV4", "PIX", "PXB", "PHB", "NODE", "SYS".
type Link struct {
	A    int    `json:"a"`
	B    int    `json:"b"`
	Kind string `json:"kind"`
}

// GPUProcess is a process as the driver knows it.
type GPUProcess struct {
	PID     int      `json:"pid"`
	GPU     int      `json:"gpu"`
	MIG     *int     `json:"mig,omitempty"`  // index in GPU.MIG
	Kind    string   `json:"kind,omitempty"` // "compute", "graphics"
	Memory  *int64   `json:"memory_bytes,omitempty"`
	SM      *float64 `json:"sm_percent,omitempty"`
	Encoder *float64 `json:"encoder_percent,omitempty"`
	Decoder *float64 `json:"decoder_percent,omitempty"`
}

// Reading is one answer of a Source.
type Reading struct {
	At            time.Time    `json:"at"`
	Source        string       `json:"source"`
	DriverVersion string       `json:"driver_version,omitempty"`
	CUDAVersion   string       `json:"cuda_version,omitempty"`
	GPUs          []GPU        `json:"gpus"`
	Processes     []GPUProcess `json:"processes,omitempty"`
	Topology      []Link       `json:"topology,omitempty"`
	// Error says why there are no figures at all; GPUs is empty then.
	Error string `json:"error,omitempty"`
}

// Process is one process of the host; one that uses several GPUs stands once for each.
type Process struct {
	PID       int       `json:"pid"`
	PPID      int       `json:"ppid,omitempty"`
	StartedAt time.Time `json:"started_at,omitzero"`
	User      string    `json:"user"`
	// its arguments in one line, at most 256 bytes, control characters replaced
	Command string `json:"command"`
	// "running", "sleeping", "waiting" (for a disk or a driver), "stopped", "zombie"
	State     string   `json:"state,omitempty"`
	GPUIndex  *int     `json:"gpu_index,omitempty"`
	MIG       *int     `json:"mig,omitempty"`
	GPUKind   string   `json:"gpu_kind,omitempty"`     // "compute" or "graphics"
	GPUMemory *int64   `json:"memory_bytes,omitempty"` // on the GPU
	SM        *float64 `json:"sm_percent,omitempty"`
	CPU       *float64 `json:"cpu_percent,omitempty"`       // of one core
	Memory    *int64   `json:"host_memory_bytes,omitempty"` // resident
	Threads   int      `json:"threads,omitempty"`
	// Owner is whose it is: a job, terminal, kernel, container or set-up. Zero: a stranger to Berth.
	Owner Owner  `json:"owner,omitzero"`
	JobID string `json:"job_id,omitempty"`
	// Note says what is odd: "zombie: its GPU memory is held until its parent waits for it", "of another PID namespace".
	Note string `json:"note,omitempty"`
}

// Owner is what a process belongs to.
type Owner struct {
	Kind string `json:"kind"` // "job", "terminal", "kernel", "container", "setup", "exec", "agent"
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// Host is what a host shows apart from GPUs and disks.
type Host struct {
	CPU    *float64  `json:"cpu_percent,omitempty"`   // of all cores, since the sample before
	Cores  []float64 `json:"cores_percent,omitempty"` // each
	IOWait *float64  `json:"iowait_percent,omitempty"`
	Steal  *float64  `json:"steal_percent,omitempty"` // taken by the hypervisor
	Load1  *float64  `json:"load1,omitempty"`
	Load5  *float64  `json:"load5,omitempty"`
	Load15 *float64  `json:"load15,omitempty"`
	Uptime float64   `json:"uptime_seconds,omitempty"`
	// Pressure is the share of the last 10 s in which some process waited (PSI); nil where the kernel has none.
	Pressure *Pressure `json:"pressure,omitempty"`

	MemoryUsed      *int64 `json:"memory_used_bytes,omitempty"` // without caches
	MemoryCache     *int64 `json:"memory_cache_bytes,omitempty"`
	MemoryAvailable *int64 `json:"memory_available_bytes,omitempty"`
	MemoryTotal     *int64 `json:"memory_total_bytes,omitempty"`
	SwapUsed        *int64 `json:"swap_used_bytes,omitempty"`
	SwapTotal       *int64 `json:"swap_total_bytes,omitempty"`
	SwapIn          *int64 `json:"swap_in_bytes_per_second,omitempty"`
	SwapOut         *int64 `json:"swap_out_bytes_per_second,omitempty"`

	Networks  []Network   `json:"networks,omitempty"`
	Devices   []BlockRate `json:"block_devices,omitempty"`
	Container bool        `json:"container,omitempty"` // limits are those of a container (cgroup), not of the machine
}

// Pressure is in percent of the last 10 s.
type Pressure struct {
	CPU    float64 `json:"cpu_percent"`
	Memory float64 `json:"memory_percent"`
	IO     float64 `json:"io_percent"`
}

// Network is the traffic of one interface.
type Network struct {
	Name string `json:"name"`
	Rx   *int64 `json:"rx_bytes_per_second,omitempty"`
	Tx   *int64 `json:"tx_bytes_per_second,omitempty"`
}

// BlockRate is the traffic of one block device.
type BlockRate struct {
	Name  string   `json:"name"`
	Read  *int64   `json:"read_bytes_per_second,omitempty"`
	Write *int64   `json:"write_bytes_per_second,omitempty"`
	Busy  *float64 `json:"busy_percent,omitempty"`
}

// Disk is one file system.
type Disk struct {
	Mount      string `json:"mount"`
	Device     string `json:"device"`
	Filesystem string `json:"filesystem"`
	Options    string `json:"options,omitempty"`
	Total      *int64 `json:"total_bytes,omitempty"`
	Used       *int64 `json:"used_bytes,omitempty"`
	Available  *int64 `json:"available_bytes,omitempty"` // to users without root
	Reserved   *int64 `json:"reserved_bytes,omitempty"`  // for root
	// UsedPercent is used / (used + available), rounded up as df does.
	UsedPercent *float64 `json:"used_percent,omitempty"`
	InodesUsed  *float64 `json:"inodes_used_percent,omitempty"` // nil: the file system has no fixed number
	Network     bool     `json:"network,omitempty"`             // a share
	ReadOnly    bool     `json:"read_only,omitempty"`
	// Growth is how fast it fills, over the last hours, in bytes a second; negative: it empties.
	Growth *float64 `json:"growth_bytes_per_second,omitempty"`
	// FullIn is in how many seconds it is full if it goes on like this; nil: not in the next 30 days.
	FullIn *float64 `json:"full_in_seconds,omitempty"`
	// StaleSince is since when the file system has not answered (a share whose server is away): figures are older.
	StaleSince *time.Time `json:"stale_since,omitempty"`
}

// Finding is something that wants attention.
type Finding struct {
	// ID is stable while the finding lasts: the rule and what it is about ("gpu-hot:GPU-1b2c…", "disk-full:/").
	ID       string    `json:"id"`
	Rule     string    `json:"rule"`
	Severity string    `json:"severity"` // "info", "warning", "critical"
	Subject  string    `json:"subject"`  // "GPU 3", "/data"
	Text     string    `json:"text"`     // what is the matter, with its figures
	Advice   string    `json:"advice"`   // what to do
	Since    time.Time `json:"since"`
}

// Summary is a Sample made small, for the fleet: one line a second of each instance. Names are short on
// purpose (a line of a host with 8 GPUs has to stay below 2 KB).
type Summary struct {
	At         time.Time    `json:"at"`
	GPUs       []GPUSummary `json:"g,omitempty"`
	GPUError   string       `json:"ge,omitempty"`
	Stale      bool         `json:"gs,omitempty"` // the figures of the GPUs are older than they should be
	CPU        *float64     `json:"c,omitempty"`  // percent
	MemoryUsed *int64       `json:"m,omitempty"`
	Memory     *int64       `json:"mt,omitempty"`
	// Disk is the local file system with the least room, for data or for files.
	Disk          string     `json:"d,omitempty"` // its mount
	DiskPercent   *float64   `json:"dp,omitempty"`
	DiskInodes    bool       `json:"di,omitempty"` // DiskPercent is of its inodes: they are scarcer than its space
	DiskFullIn    *float64   `json:"df,omitempty"` // seconds until there is no space
	DiskAvailable *int64     `json:"da,omitempty"` // space
	GPUProcesses  int        `json:"p,omitempty"`
	GPUIdleSince  *time.Time `json:"gi,omitempty"` // since when no GPU has done anything; nil: one does, or there is none
	Attention     []Finding  `json:"a,omitempty"`
}

// GPUSummary is one GPU of a Summary.
type GPUSummary struct {
	Name        string   `json:"n,omitempty"`  // in the first line of a stream, and when it changes
	ID          string   `json:"id,omitempty"` // with Name: the beginning of the UUID, for instances that share a host
	Index       int      `json:"i"`
	Utilization *float64 `json:"u,omitempty"`
	MemoryUsed  *int64   `json:"m,omitempty"`
	MemoryTotal *int64   `json:"mt,omitempty"`
	Unified     bool     `json:"un,omitempty"` // the memory is the host's
	Temperature *float64 `json:"t,omitempty"`
	Power       *float64 `json:"w,omitempty"`
	PowerLimit  *float64 `json:"wl,omitempty"`
	Throttled   bool     `json:"th,omitempty"` // held back by heat or power, not by idleness
	Error       string   `json:"e,omitempty"`
	XID         int      `json:"x,omitempty"`  // the last one of the last hour that is the GPU's own fault
	User        string   `json:"us,omitempty"` // of its biggest process
	Held        string   `json:"h,omitempty"`  // who has it by a queue, or whose its biggest process is: "job 13 (train)"
	Next        string   `json:"nx,omitempty"` // who gets it next
}

// IdleRule is the rule of the finding that an instance's GPUs are billed and have done nothing for long.
const IdleRule = "gpu-idle"

// BusyPercent is the utilisation from which a GPU counts as busy: drivers report a little for a desktop or a monitor.
const BusyPercent = 5

// ShortID is enough of a UUID ("GPU-1b2c3d4e-…") to tell the GPUs of a fleet from each other.
func ShortID(uuid string) string {
	id := strings.TrimPrefix(uuid, "GPU-")
	return id[:min(len(id), 8)]
}

// KeepNames gives GPUs that a line of a stream leaves unnamed what they were called in the line before. What is
// given is not changed.
func KeepNames(now, before []GPUSummary) []GPUSummary {
	out := now
	cloned := false
	for i := range now {
		if now[i].Name != "" {
			continue
		}
		for j := range before {
			if before[j].Index == now[i].Index && before[j].Name != "" {
				if !cloned { // a line may be shared
					out, cloned = slices.Clone(now), true
				}
				out[i].Name, out[i].ID = before[j].Name, before[j].ID
				break
			}
		}
	}
	return out
}

// Series is the history of one metric of one subject. Points are in time order with a fixed step; a
// point that is missing was not measured.
type Series struct {
	Metric  string  `json:"metric"`            // "gpu_utilization_percent", "memory_used_bytes", …: see Metrics
	Subject string  `json:"subject,omitempty"` // "GPU-1b2c…", "/data", "eth0"; empty: the host
	Index   *int    `json:"gpu_index,omitempty"`
	Step    float64 `json:"step_seconds"`
	// Unified says that what is measured is the host's memory: the GPU has none of its own.
	Unified bool    `json:"unified_memory,omitempty"`
	Points  []Point `json:"points"`
}

// Point is one step of a Series.
type Point struct {
	At   time.Time `json:"at"` // the step's beginning
	Mean float64   `json:"mean"`
	Max  float64   `json:"max"`
}
