//go:build linux && (amd64 || arm64) && (cgo || nvml)

package loader

import (
	"unsafe"

	"berth/gpu/nvml"
)

// device is a handle of the library. The structures below have the layouts of its public header.
type device struct {
	lib    *library
	handle uintptr
}

func (d device) Key() any { return d.handle }

func (d device) Number(q nvml.Query) (uint64, nvml.Return) {
	out := new([2]uint64) // little endian: a 32-bit answer is the low half
	var r nvml.Return
	// The functions take no more than they need; what stands in further registers they don't see.
	switch q.Arguments {
	case 0:
		r = d.lib.call(q.Function, d.handle, uintptr(unsafe.Pointer(&out[0])), uintptr(unsafe.Pointer(&out[1])))
	case 1:
		r = d.lib.call(q.Function, d.handle, uintptr(q.First), uintptr(unsafe.Pointer(&out[0])),
			uintptr(unsafe.Pointer(&out[1])))
	default:
		r = d.lib.call(q.Function, d.handle, uintptr(q.First), uintptr(q.Second), uintptr(unsafe.Pointer(&out[0])))
	}
	if !q.Wide {
		return uint64(uint32(out[0])), r
	}
	return out[0], r
}

func (d device) Name() (string, nvml.Return) { return d.lib.text("nvmlDeviceGetName", d.handle) }
func (d device) UUID() (string, nvml.Return) { return d.lib.text("nvmlDeviceGetUUID", d.handle) }

type pci struct {
	legacy                             [16]byte
	domain, bus, device, id, subsystem uint32
	busID                              [32]byte
}

func (d device) PCI() (string, nvml.Return) {
	p := new(pci)
	r := d.lib.call("nvmlDeviceGetPciInfo_v3", d.handle, uintptr(unsafe.Pointer(p)))
	return untilZero(p.busID[:]), r
}

func (d device) NVLinkRemote(link int) (string, nvml.Return) {
	p := new(pci)
	r := d.lib.call("nvmlDeviceGetNvLinkRemotePciInfo_v2", d.handle, uintptr(link), uintptr(unsafe.Pointer(p)))
	return untilZero(p.busID[:]), r
}

func (d device) Utilization() (gpu, memory uint32, r nvml.Return) {
	u := new([2]uint32)
	r = d.lib.call("nvmlDeviceGetUtilizationRates", d.handle, uintptr(unsafe.Pointer(u)))
	return u[0], u[1], r
}

func (d device) Memory() (nvml.Memory, nvml.Return) {
	m := new(struct{ total, free, used uint64 })
	r := d.lib.call("nvmlDeviceGetMemoryInfo", d.handle, uintptr(unsafe.Pointer(m)))
	return nvml.Memory{Total: m.total, Free: m.free, Used: m.used}, r
}

// version is what a structure with a version begins with: its size and the number.
func version[T any](_ *T, n uint32) uint32 {
	var v T
	return uint32(unsafe.Sizeof(v)) | n<<24
}

func (d device) MemoryV2() (nvml.Memory, nvml.Return) {
	m := new(struct {
		version                     uint32
		total, reserved, free, used uint64
	})
	m.version = version(m, 2)
	r := d.lib.call("nvmlDeviceGetMemoryInfo_v2", d.handle, uintptr(unsafe.Pointer(m)))
	return nvml.Memory{Total: m.total, Reserved: m.reserved, Free: m.free, Used: m.used}, r
}

func (d device) TemperatureV() (int, nvml.Return) {
	t := new(struct {
		version, sensor uint32
		value           int32
	})
	t.version = version(t, 1)
	r := d.lib.call("nvmlDeviceGetTemperatureV", d.handle, uintptr(unsafe.Pointer(t)))
	return int(t.value), r
}

type field struct {
	id, scope    uint32
	at, latency  int64
	kind, result uint32
	value        [8]byte
}

func (d device) Fields(f []nvml.Field) nvml.Return {
	list := make([]field, len(f))
	for i := range f {
		list[i] = field{id: f[i].ID, scope: f[i].Scope}
	}
	r := d.lib.call("nvmlDeviceGetFieldValues", d.handle, uintptr(len(list)), uintptr(unsafe.Pointer(&list[0])))
	for i, v := range list {
		f[i].At, f[i].Return = v.at, nvml.Return(v.result)
		f[i].Value = nvml.FieldValue(v.kind, v.value)
	}
	return r
}

func (d device) Remapped() (nvml.Remapped, nvml.Return) {
	v := new([4]uint32)
	r := d.lib.call("nvmlDeviceGetRemappedRows", d.handle, uintptr(unsafe.Pointer(&v[0])), uintptr(unsafe.Pointer(&v[1])),
		uintptr(unsafe.Pointer(&v[2])), uintptr(unsafe.Pointer(&v[3])))
	return nvml.Remapped{Corrected: v[0], Uncorrected: v[1], Pending: v[2] != 0, Failed: v[3] != 0}, r
}

func (d device) MIGDevice(index int) (nvml.Device, nvml.Return) {
	h := new(uintptr)
	r := d.lib.call("nvmlDeviceGetMigDeviceHandleByIndex", d.handle, uintptr(index), uintptr(unsafe.Pointer(h)))
	return device{d.lib, *h}, r
}

// Processes asks the newest of three functions that the library has; the oldest has smaller structures.
func (d device) Processes(graphics bool) ([]nvml.Process, nvml.Return) {
	type old struct {
		pid    uint32
		memory uint64
	}
	type info struct {
		pid      uint32
		memory   uint64
		gpu, cid uint32
	}
	base := "nvmlDeviceGetComputeRunningProcesses"
	if graphics {
		base = "nvmlDeviceGetGraphicsRunningProcesses"
	}
	for _, suffix := range []string{"_v3", "_v2", ""} {
		name := base + suffix
		if d.lib.symbol(name) == 0 {
			continue
		}
		n := new(uint32)
		for size := uint32(64); size <= 1<<16; size = max(2*size, *n+8) {
			*n = size
			if suffix == "" {
				list := make([]old, size)
				r := d.lib.call(name, d.handle, uintptr(unsafe.Pointer(n)), uintptr(unsafe.Pointer(&list[0])))
				if r == nvml.InsufficientSize {
					continue
				}
				out := make([]nvml.Process, 0, min(*n, size))
				if r == nvml.Success {
					for _, p := range list[:min(*n, size)] {
						out = append(out, nvml.Process{PID: p.pid, Memory: p.memory})
					}
				}
				return out, r
			}
			list := make([]info, size)
			r := d.lib.call(name, d.handle, uintptr(unsafe.Pointer(n)), uintptr(unsafe.Pointer(&list[0])))
			if r == nvml.InsufficientSize {
				continue
			}
			out := make([]nvml.Process, 0, min(*n, size))
			if r == nvml.Success {
				for _, p := range list[:min(*n, size)] {
					out = append(out, nvml.Process{PID: p.pid, Memory: p.memory})
				}
			}
			return out, r
		}
		return nil, nvml.InsufficientSize
	}
	return nil, nvml.FunctionNotFound
}

func (d device) Samples(after uint64) ([]nvml.Sample, nvml.Return) {
	type sample struct {
		pid               uint32
		at                uint64
		sm, mem, enc, dec uint32
	}
	const name = "nvmlDeviceGetProcessUtilization"
	n := new(uint32)
	r := d.lib.call(name, d.handle, 0, uintptr(unsafe.Pointer(n)), uintptr(after))
	if r != nvml.InsufficientSize || *n == 0 {
		return nil, r
	}
	size := min(*n, 1<<16)
	*n = size
	list := make([]sample, size)
	r = d.lib.call(name, d.handle, uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(n)), uintptr(after))
	if r != nvml.Success {
		return nil, r
	}
	out := make([]nvml.Sample, 0, min(*n, size))
	for _, s := range list[:min(*n, size)] {
		out = append(out, nvml.Sample{PID: s.pid, At: s.at, SM: s.sm, Encoder: s.enc, Decoder: s.dec})
	}
	return out, r
}

func (d device) Topology(other nvml.Device) (uint32, nvml.Return) {
	v := new(uint32)
	r := d.lib.call("nvmlDeviceGetTopologyCommonAncestor", d.handle, other.(device).handle, uintptr(unsafe.Pointer(v)))
	return *v, r
}

func (d device) Register(types uint64, s nvml.EventSet) nvml.Return {
	return d.lib.call("nvmlDeviceRegisterEvents", d.handle, uintptr(types), s.(*eventSet).handle)
}
