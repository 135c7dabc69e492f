//go:build linux && cgo

package gonvml

import (
	"errors"
	"fmt"
	"sync"
	"time"

	bindings "github.com/NVIDIA/go-nvml/pkg/nvml"

	"berth/gpu"
	"berth/gpu/nvml"
)

// Built says whether this program has NVIDIA's bindings in it.
const Built = true

// ErrNotBuilt means that this program was built without cgo.
var ErrNotBuilt = errors.New("this program was built without NVIDIA's bindings (they need cgo)")

// Open loads the library and returns its source.
func Open() (gpu.Source, error) {
	s, err := nvml.Open(&library{})
	if err != nil {
		return nil, err
	}
	return s, nil
}

type library struct {
	api     bindings.Interface
	symbols sync.Map // name → whether the library has it
}

// has says whether any of these functions is there; they are versions of one, of which the bindings take the newest.
func (l *library) has(names ...string) bool {
	for _, name := range names {
		v, known := l.symbols.Load(name)
		if !known {
			v = l.api.Extensions().LookupSymbol(name) == nil
			l.symbols.Store(name, v)
		}
		if v.(bool) {
			return true
		}
	}
	return false
}

func (l *library) Name() string { return "go-nvml" }

func (l *library) Open(path string) (nvml.Return, error) {
	l.api = bindings.New(bindings.WithLibraryPath(path))
	// Init calls without a look: what would end the process is seen before, on a handle of our own.
	if err := loadable(path); err != nil {
		return nvml.LibraryNotFound, err
	}
	r := nvml.Return(l.api.Init())
	if r == nvml.LibraryNotFound {
		return r, fmt.Errorf("loading %s: %s", path, r)
	}
	return r, nil
}

func (l *library) Shutdown() nvml.Return {
	if !l.has("nvmlShutdown") {
		return nvml.FunctionNotFound
	}
	return nvml.Return(l.api.Shutdown())
}

func (l *library) DriverVersion() (string, nvml.Return) {
	if !l.has("nvmlSystemGetDriverVersion") {
		return "", nvml.FunctionNotFound
	}
	v, r := l.api.SystemGetDriverVersion()
	return v, nvml.Return(r)
}

func (l *library) CUDAVersion() (int, nvml.Return) {
	switch {
	case l.has("nvmlSystemGetCudaDriverVersion_v2"):
		v, r := l.api.SystemGetCudaDriverVersion_v2()
		return v, nvml.Return(r)
	case l.has("nvmlSystemGetCudaDriverVersion"):
		v, r := l.api.SystemGetCudaDriverVersion()
		return v, nvml.Return(r)
	}
	return 0, nvml.FunctionNotFound
}

func (l *library) Count() (int, nvml.Return) {
	if !l.has("nvmlDeviceGetCount_v2", "nvmlDeviceGetCount") {
		return 0, nvml.FunctionNotFound
	}
	n, r := l.api.DeviceGetCount()
	return n, nvml.Return(r)
}

func (l *library) Device(index int) (nvml.Device, nvml.Return) {
	if !l.has("nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex") {
		return nil, nvml.FunctionNotFound
	}
	d, r := l.api.DeviceGetHandleByIndex(index)
	return device{l, d}, nvml.Return(r)
}

func (l *library) EventSet() (nvml.EventSet, nvml.Return) {
	if !l.has("nvmlEventSetCreate") || !l.has("nvmlEventSetWait_v2", "nvmlEventSetWait") || !l.has("nvmlEventSetFree") {
		return nil, nvml.FunctionNotFound
	}
	s, r := l.api.EventSetCreate()
	return eventSet{s}, nvml.Return(r)
}

type eventSet struct{ set bindings.EventSet }

func (s eventSet) Free() nvml.Return { return nvml.Return(s.set.Free()) }

func (s eventSet) Wait(limit time.Duration) (nvml.Event, nvml.Return) {
	e, r := s.set.Wait(uint32(limit.Milliseconds()))
	return nvml.Event{Device: e.Device, Type: e.EventType, Data: e.EventData}, nvml.Return(r)
}
