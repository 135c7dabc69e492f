//go:build linux && (amd64 || arm64) && (cgo || nvml)

package loader

import (
	"bytes"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"

	"berth/gpu/nvml"
)

// library is one loaded NVML. It stays loaded: its threads may still be in a call.
type library struct {
	handle  uintptr
	symbols sync.Map // name → address, 0 where it is missing
}

func (l *library) Name() string { return "nvml" }

func (l *library) Open(path string) (nvml.Return, error) {
	h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nvml.LibraryNotFound, fmt.Errorf("loading %s: %w", path, err)
	}
	l.handle = h
	for _, f := range []string{"nvmlInit_v2", "nvmlInit"} {
		if l.symbol(f) != 0 {
			return l.call(f), nil
		}
	}
	return nvml.LibraryNotFound, fmt.Errorf("loading %s: it has no nvmlInit: it is not NVML", path)
}

func (l *library) symbol(name string) uintptr {
	if v, ok := l.symbols.Load(name); ok {
		return v.(uintptr)
	}
	p, err := purego.Dlsym(l.handle, name)
	if err != nil {
		p = 0
	}
	l.symbols.Store(name, p)
	return p
}

// call calls a function that the library may lack. The arguments escape to the heap, where they don't move.
//
//go:uintptrescapes
func (l *library) call(name string, args ...uintptr) nvml.Return {
	f := l.symbol(name)
	if f == 0 {
		return nvml.FunctionNotFound
	}
	r, _, _ := purego.SyscallN(f, args...)
	return nvml.Return(uint32(r))
}

func (l *library) Shutdown() nvml.Return { return l.call("nvmlShutdown") }

// text calls a function that fills a buffer.
func (l *library) text(name string, before ...uintptr) (string, nvml.Return) {
	b := new([128]byte)
	var r nvml.Return
	if len(before) == 0 {
		r = l.call(name, uintptr(unsafe.Pointer(b)), uintptr(len(b)))
	} else {
		r = l.call(name, before[0], uintptr(unsafe.Pointer(b)), uintptr(len(b)))
	}
	return untilZero(b[:]), r
}

func untilZero(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

func (l *library) DriverVersion() (string, nvml.Return) { return l.text("nvmlSystemGetDriverVersion") }

func (l *library) CUDAVersion() (int, nvml.Return) {
	v := new(int32)
	r := l.call("nvmlSystemGetCudaDriverVersion_v2", uintptr(unsafe.Pointer(v)))
	if r == nvml.FunctionNotFound {
		r = l.call("nvmlSystemGetCudaDriverVersion", uintptr(unsafe.Pointer(v)))
	}
	return int(*v), r
}

func (l *library) Count() (int, nvml.Return) {
	v := new(uint32)
	r := l.call("nvmlDeviceGetCount_v2", uintptr(unsafe.Pointer(v)))
	if r == nvml.FunctionNotFound {
		r = l.call("nvmlDeviceGetCount", uintptr(unsafe.Pointer(v)))
	}
	return int(*v), r
}

func (l *library) Device(index int) (nvml.Device, nvml.Return) {
	h := new(uintptr)
	r := l.call("nvmlDeviceGetHandleByIndex_v2", uintptr(index), uintptr(unsafe.Pointer(h)))
	if r == nvml.FunctionNotFound {
		r = l.call("nvmlDeviceGetHandleByIndex", uintptr(index), uintptr(unsafe.Pointer(h)))
	}
	return device{l, *h}, r
}

func (l *library) EventSet() (nvml.EventSet, nvml.Return) {
	h := new(uintptr)
	r := l.call("nvmlEventSetCreate", uintptr(unsafe.Pointer(h)))
	return &eventSet{l, *h}, r
}

type eventSet struct {
	lib    *library
	handle uintptr
}

func (s *eventSet) Free() nvml.Return { return s.lib.call("nvmlEventSetFree", s.handle) }

func (s *eventSet) Wait(limit time.Duration) (nvml.Event, nvml.Return) {
	type data struct {
		device   uintptr
		kind     uint64
		data     uint64
		gpu, cid uint32
	}
	d := new(data)
	r := s.lib.call("nvmlEventSetWait_v2", s.handle, uintptr(unsafe.Pointer(d)), uintptr(limit.Milliseconds()))
	if r == nvml.FunctionNotFound {
		r = s.lib.call("nvmlEventSetWait", s.handle, uintptr(unsafe.Pointer(d)), uintptr(limit.Milliseconds()))
	}
	return nvml.Event{Device: d.device, Type: d.kind, Data: d.data}, r
}
