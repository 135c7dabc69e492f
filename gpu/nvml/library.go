package nvml

import (
	"os"
	"time"
)

// Return is a return code of the library.
type Return uint32

// The codes that are told apart.
const (
	Success          Return = 0
	Uninitialized    Return = 1
	InvalidArgument  Return = 2
	NotSupported     Return = 3
	NoPermission     Return = 4
	NotFound         Return = 6
	InsufficientSize Return = 7
	DriverNotLoaded  Return = 9
	Timeout          Return = 10
	IRQIssue         Return = 11
	LibraryNotFound  Return = 12
	FunctionNotFound Return = 13 // also what an implementation returns where the library lacks the symbol
	GPUIsLost        Return = 15
	ResetRequired    Return = 16
	OperatingSystem  Return = 17
	VersionMismatch  Return = 18
	Unknown          Return = 999
)

// Library is how calls reach the library. Its methods may be called from several goroutines. Where the
// library lacks a function they return FunctionNotFound; they never call a symbol that is not there.
type Library interface {
	// Name is the source's name: "go-nvml" or "nvml".
	Name() string
	// Open loads the library at path and initialises it. The error is the loader's own, if it could not be loaded.
	Open(path string) (Return, error)
	Shutdown() Return
	DriverVersion() (string, Return)
	CUDAVersion() (int, Return) // 12080 is 12.8
	Count() (int, Return)
	Device(index int) (Device, Return)
	EventSet() (EventSet, Return)
}

// Device is a GPU, or a MIG device of one.
type Device interface {
	// Key is equal for the same device and can be compared.
	Key() any
	Number(q Query) (uint64, Return)
	Name() (string, Return)
	UUID() (string, Return)
	PCI() (string, Return)
	Utilization() (gpu, memory uint32, r Return)
	Memory() (Memory, Return)   // Reserved is 0
	MemoryV2() (Memory, Return) // newer: with Reserved, which Used leaves out
	TemperatureV() (int, Return)
	Fields(f []Field) Return
	Remapped() (Remapped, Return)
	MIGDevice(index int) (Device, Return)
	Processes(graphics bool) ([]Process, Return)
	Samples(after uint64) ([]Sample, Return)
	Topology(other Device) (uint32, Return)
	NVLinkRemote(link int) (pci string, r Return)
	Register(types uint64, s EventSet) Return
}

// EventSet is where the driver reports errors.
type EventSet interface {
	// Wait blocks until an event comes or the limit (Timeout) is over.
	Wait(limit time.Duration) (Event, Return)
	Free() Return
}

// Query is a function that gives one number of a device.
type Query struct {
	Function      string
	Arguments     int // how many of First and Second stand between the device and the answer
	First, Second int
	Wide          bool // the answer has 64 bits, else 32
	Pair          bool // a second answer follows, which is not used
}

// Memory is in bytes.
type Memory struct{ Total, Reserved, Free, Used uint64 }

// Field is one value of many that are asked for in one call.
type Field struct {
	ID, Scope uint32
	At        int64 // µs since 1970
	Value     uint64
	Return    Return
}

// Remapped counts rows of memory that were replaced by spare ones.
type Remapped struct {
	Corrected, Uncorrected uint32
	Pending, Failed        bool
}

// Process is one that has memory on a device.
type Process struct {
	PID    uint32
	Memory uint64 // notAvailable where the driver does not know
}

// Sample is what a process used, in percent.
type Sample struct {
	PID                  uint32
	At                   uint64 // µs since 1970
	SM, Encoder, Decoder uint32
}

// Event is an error of a device.
type Event struct {
	Device any // its Key
	Type   uint64
	Data   uint64 // an XID's code
}

const (
	notAvailable = ^uint64(0)
	eventXID     = 8
	allLinks     = ^uint32(0)
	maxLinks     = 36

	fieldMemoryTemperature = 82
	fieldNVLinkTx          = 138
	fieldNVLinkRx          = 139
)

// What is asked for by Number.
var (
	PowerUsage        = Query{Function: "nvmlDeviceGetPowerUsage"}
	PowerLimit        = Query{Function: "nvmlDeviceGetEnforcedPowerLimit"}
	Energy            = Query{Function: "nvmlDeviceGetTotalEnergyConsumption", Wide: true}
	Temperature       = Query{Function: "nvmlDeviceGetTemperature", Arguments: 1, First: 0}
	Slowdown          = Query{Function: "nvmlDeviceGetTemperatureThreshold", Arguments: 1, First: 1}
	FanSpeed          = Query{Function: "nvmlDeviceGetFanSpeed"}
	SMClock           = Query{Function: "nvmlDeviceGetClockInfo", Arguments: 1, First: 1}
	MemoryClock       = Query{Function: "nvmlDeviceGetClockInfo", Arguments: 1, First: 2}
	MaxSMClock        = Query{Function: "nvmlDeviceGetMaxClockInfo", Arguments: 1, First: 1}
	MaxMemoryClock    = Query{Function: "nvmlDeviceGetMaxClockInfo", Arguments: 1, First: 2}
	PerformanceState  = Query{Function: "nvmlDeviceGetPerformanceState"}
	EventReasons      = Query{Function: "nvmlDeviceGetCurrentClocksEventReasons", Wide: true}
	ThrottleReasons   = Query{Function: "nvmlDeviceGetCurrentClocksThrottleReasons", Wide: true} // the older name
	Encoder           = Query{Function: "nvmlDeviceGetEncoderUtilization", Pair: true}
	Decoder           = Query{Function: "nvmlDeviceGetDecoderUtilization", Pair: true}
	PCIeTx            = Query{Function: "nvmlDeviceGetPcieThroughput", Arguments: 1, First: 0} // blocks for 20 ms
	PCIeRx            = Query{Function: "nvmlDeviceGetPcieThroughput", Arguments: 1, First: 1}
	PCIeGeneration    = Query{Function: "nvmlDeviceGetCurrPcieLinkGeneration"}
	PCIeWidth         = Query{Function: "nvmlDeviceGetCurrPcieLinkWidth"}
	ECCMode           = Query{Function: "nvmlDeviceGetEccMode", Pair: true}
	Persistence       = Query{Function: "nvmlDeviceGetPersistenceMode"}
	ComputeMode       = Query{Function: "nvmlDeviceGetComputeMode"}
	MIGMode           = Query{Function: "nvmlDeviceGetMigMode", Pair: true}
	MaxMIGDevices     = Query{Function: "nvmlDeviceGetMaxMigDeviceCount"}
	GPUInstanceID     = Query{Function: "nvmlDeviceGetGpuInstanceId"}
	ComputeInstanceID = Query{Function: "nvmlDeviceGetComputeInstanceId"}
)

// NVLinkState is 1 for a link that is up.
func NVLinkState(link int) Query {
	return Query{Function: "nvmlDeviceGetNvLinkState", Arguments: 1, First: link}
}

// NVLinkRemoteType is 0 for a link to a GPU, 2 for one to a switch.
func NVLinkRemoteType(link int) Query {
	return Query{Function: "nvmlDeviceGetNvLinkRemoteDeviceType", Arguments: 1, First: link}
}

// ECCErrors counts memory errors: kind 0 those corrected, 1 those not; counter 0 since the driver was
// loaded, 1 over the GPU's life.
func ECCErrors(kind, counter int) Query {
	return Query{Function: "nvmlDeviceGetTotalEccErrors", Arguments: 2, First: kind, Second: counter, Wide: true}
}

// LibraryVariable names the environment variable with the library's path, for tests and odd installations.
const LibraryVariable = "BERTH_NVML_LIBRARY"

// paths are where the library may be: by its name, then where WSL, NixOS and container hosts keep it.
func paths() []string {
	if p := os.Getenv(LibraryVariable); p != "" {
		return []string{p}
	}
	out := []string{"libnvidia-ml.so.1"}
	for _, p := range []string{"/usr/lib/wsl/lib/libnvidia-ml.so.1", "/run/opengl-driver/lib/libnvidia-ml.so.1",
		"/usr/local/nvidia/lib64/libnvidia-ml.so.1", "/home/kubernetes/bin/nvidia/lib64/libnvidia-ml.so.1"} {
		if _, err := os.Stat(p); err == nil {
			out = append(out, p)
		}
	}
	return out
}
