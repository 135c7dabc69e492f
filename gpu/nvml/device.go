package nvml

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/gpu"
)

// device is a GPU with what was read of it before.
type device struct {
	index int

	mu      sync.Mutex // of handle and refused, which the other goroutines look at
	handle  Device     // nil: the driver would not give one
	refused Return

	opened     time.Time
	named      bool
	gpu        gpu.GPU // identity, and the figures that are read seldom
	constant   bool    // what never changes was read
	slowAt     time.Time
	mig        []migDevice
	lastSample uint64
	trouble    Return    // the worst of this read
	askAgain   time.Time // a lost GPU is left alone until then: each call on one may take long
	lost       Return
}

type migDevice struct {
	handle Device
	mig    gpu.MIG
}

// open asks for the handle, and who it is.
func (d *device) open(lib Library) {
	h, r := lib.Device(d.index)
	d.mu.Lock()
	d.handle, d.refused = h, r
	if r != Success {
		d.handle = nil
	}
	d.mu.Unlock()
	d.opened = time.Now()
	d.gpu.Index = d.index
	if r == Success {
		d.identify()
	}
}

func (d *device) identify() {
	h := d.handle
	name, r1 := h.Name()
	uuid, r2 := h.UUID()
	pci, _ := h.PCI()
	if r1 == Success && r2 == Success {
		d.gpu.Name, d.gpu.UUID, d.gpu.PCI, d.named = name, uuid, pci, true
	}
}

// get returns the handle, for other goroutines than Read's.
func (d *device) get() Device {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.handle
}

// number asks for a figure: nil where there is none. divisor turns NVML's unit into ours.
func (d *device) number(q Query, divisor float64) *float64 {
	v, r := d.handle.Number(q)
	if r != Success {
		d.note(r)
		return nil
	}
	f := float64(v) / divisor
	return &f
}

func (d *device) integer(q Query) *int {
	v, r := d.handle.Number(q)
	if r != Success {
		d.note(r)
		return nil
	}
	i := int(v)
	return &i
}

func (d *device) flag(q Query) *bool {
	v, r := d.handle.Number(q)
	if r != Success {
		d.note(r)
		return nil
	}
	b := v == 1
	return &b
}

// note keeps the code that says most: one about the driver, then one about the GPU, then any other.
func (d *device) note(r Return) {
	rank := func(r Return) int {
		switch {
		case r.whole():
			return 3
		case r == GPUIsLost || r == ResetRequired:
			return 2
		case r.trouble():
			return 1
		}
		return 0
	}
	if rank(r) > rank(d.trouble) {
		d.trouble = r
	}
}

// read takes a GPU's figures. The code is one about the driver as a whole, or Success.
func (d *device) read(s *Source, now time.Time) (gpu.GPU, []gpu.GPUProcess, Return) {
	if d.handle == nil && now.Sub(d.opened) > lostPause {
		d.open(s.lib)
	}
	if d.handle == nil {
		return d.failed(d.refused), nil, d.refused
	}
	if pause := d.askAgain.Sub(now); pause > 0 && pause <= lostPause {
		return d.failed(d.lost), nil, Success
	}
	d.trouble = Success
	if !d.named {
		d.identify()
	}
	if !d.constant {
		d.gpu.MaxSMClock, d.gpu.MaxMemoryClock = d.number(MaxSMClock, 1), d.number(MaxMemoryClock, 1)
		d.gpu.SlowdownTemperature = d.number(Slowdown, 1)
		d.constant = d.trouble == Success
	}
	if now.Sub(d.slowAt) >= slowFigures || now.Before(d.slowAt) {
		d.readSlow()
		d.slowAt = now
	}
	if d.gone() {
		return d.giveUp(now), nil, Success
	}
	g := d.gpu
	if u, m, r := d.handle.Utilization(); r == Success {
		g.Utilization, g.MemoryUtilization = percent(u), percent(m)
	} else {
		d.note(r)
	}
	var answer Return
	g.MemoryTotal, g.MemoryUsed, g.MemoryReserved, answer = d.memory(d.handle)
	g.Temperature = d.temperature()
	// One that tells of something else has no memory of its own; one that tells nothing is not known.
	g.Unified = answer == NotSupported && (g.Utilization != nil || g.Temperature != nil)
	g.MemoryTemperature = d.memoryTemperature()
	g.Power = d.number(PowerUsage, 1000)
	g.Energy = d.number(Energy, 1000)
	g.SMClock, g.MemoryClock = d.number(SMClock, 1), d.number(MemoryClock, 1)
	g.Throttle = d.throttle()
	g.Encoder, g.Decoder = d.number(Encoder, 1), d.number(Decoder, 1)
	g.MIG = nil
	for _, m := range d.mig {
		v := m.mig
		v.MemoryTotal, v.MemoryUsed, _, _ = d.memory(m.handle)
		g.MIG = append(g.MIG, v)
	}
	processes := d.processes(s, now)
	if d.trouble.whole() {
		return g, nil, d.trouble
	}
	nothing := g.Utilization == nil && g.MemoryTotal == nil && g.Temperature == nil && g.Power == nil
	if d.gone() {
		return d.giveUp(now), nil, Success
	}
	if nothing && d.trouble != Success {
		d.slowAt, d.constant = time.Time{}, false
		return d.failed(d.trouble), nil, Success
	}
	return g, processes, Success
}

// gone says whether this read found the GPU lost.
func (d *device) gone() bool { return d.trouble == GPUIsLost || d.trouble == ResetRequired }

// giveUp leaves a lost GPU alone for a while.
func (d *device) giveUp(now time.Time) gpu.GPU {
	d.lost, d.askAgain = d.trouble, now.Add(lostPause)
	d.slowAt, d.constant = time.Time{}, false
	return d.failed(d.trouble)
}

// failed is a GPU without figures.
func (d *device) failed(r Return) gpu.GPU {
	return gpu.GPU{Index: d.index, UUID: d.gpu.UUID, Name: d.gpu.Name, PCI: d.gpu.PCI, Error: lost(r)}
}

// readSlow takes what changes seldom.
func (d *device) readSlow() {
	g := &d.gpu
	g.Fan = d.number(FanSpeed, 1)
	g.PowerLimit = d.number(PowerLimit, 1000)
	g.PerformanceState = ""
	if v := d.integer(PerformanceState); v != nil && *v >= 0 && *v <= 15 {
		g.PerformanceState = "P" + strconv.Itoa(*v)
	}
	g.PCIeGeneration, g.PCIeWidth = d.integer(PCIeGeneration), d.integer(PCIeWidth)
	g.Persistence = d.flag(Persistence)
	g.ComputeMode = ""
	if v := d.integer(ComputeMode); v != nil {
		g.ComputeMode = map[int]string{0: "default", 1: "exclusive thread", 2: "prohibited", 3: "exclusive process"}[*v]
	}
	g.ECC = d.ecc()
	g.MIGEnabled = d.flag(MIGMode)
	d.mig = nil
	if g.MIGEnabled != nil && *g.MIGEnabled {
		d.mig = d.migDevices()
	}
}

func (d *device) ecc() *gpu.ECC {
	e := &gpu.ECC{}
	if on := d.flag(ECCMode); on != nil && *on {
		e.Corrected, e.Uncorrected = d.count(0, 0), d.count(1, 0)
		e.AggregateCorrected, e.AggregateUncorrected = d.count(0, 1), d.count(1, 1)
	} else {
		return nil
	}
	if rows, r := d.handle.Remapped(); r == Success {
		e.RemappedCorrectable, e.RemappedUncorrected = bytes(uint64(rows.Corrected)), bytes(uint64(rows.Uncorrected))
		e.RemapPending, e.RemapFailed = &rows.Pending, &rows.Failed
	} else {
		d.note(r)
	}
	if *e == (gpu.ECC{}) {
		return nil
	}
	return e
}

// count is an ECC counter: kind 0 corrected, 1 not; counter 0 since the driver was loaded, 1 for ever.
func (d *device) count(kind, counter int) *int64 {
	v, r := d.handle.Number(ECCErrors(kind, counter))
	if r != Success {
		d.note(r)
		return nil
	}
	return bytes(v)
}

func (d *device) migDevices() []migDevice {
	most := d.integer(MaxMIGDevices)
	if most == nil {
		return nil
	}
	var out []migDevice
	for i := range min(*most, 64) {
		h, r := d.handle.MIGDevice(i)
		if r != Success {
			if r != NotFound {
				d.note(r)
			}
			continue // places are left empty
		}
		m := migDevice{handle: h, mig: gpu.MIG{Index: i}}
		m.mig.UUID, _ = h.UUID()
		if name, r := h.Name(); r == Success {
			_, m.mig.Profile, _ = strings.Cut(name, "MIG ")
		}
		if v, r := h.Number(GPUInstanceID); r == Success {
			m.mig.GPUInstance = int(v)
		}
		if v, r := h.Number(ComputeInstanceID); r == Success {
			m.mig.ComputeInstance = int(v)
		}
		out = append(out, m)
	}
	return out
}

// memory asks the newer function first: it tells what is reserved apart. A GPU that shares the host's memory answers
// NotSupported.
func (d *device) memory(h Device) (total, used, reserved *int64, answer Return) {
	if m, r := h.MemoryV2(); r == Success {
		return bytes(m.Total), bytes(m.Used), bytes(m.Reserved), Success
	}
	m, r := h.Memory()
	if r != Success {
		d.note(r)
		return nil, nil, nil, r
	}
	return bytes(m.Total), bytes(m.Used), nil, Success
}

func (d *device) temperature() *float64 {
	v, r := d.handle.Number(Temperature)
	if r == Success {
		f := float64(int32(v))
		return &f
	}
	// Drivers may drop the old function.
	t, r2 := d.handle.TemperatureV()
	if r2 == Success {
		f := float64(t)
		return &f
	}
	d.note(r)
	d.note(r2)
	return nil
}

func (d *device) memoryTemperature() *float64 {
	f := []Field{{ID: fieldMemoryTemperature}}
	r := d.handle.Fields(f)
	if r == Success {
		r = f[0].Return
	}
	if r != Success {
		d.note(r)
		return nil
	}
	v := float64(f[0].Value)
	if v <= 0 || v > 200 { // some cards answer 0 for a sensor that they don't have
		return nil
	}
	return &v
}

var reasons = []struct {
	bit  uint64
	name string
}{
	{0x1, "idle"}, {0x2, "application clocks"}, {0x4, "power cap"}, {0x8, "hardware slowdown"}, {0x10, "sync boost"},
	{0x20, "thermal (software)"}, {0x40, "thermal (hardware)"}, {0x80, "power brake"}, {0x100, "display clocks"},
	{0x200, "board limit"}, {0x400, "reliability"},
}

// Reasons names NVML's bits of why clocks are held back; never nil.
func Reasons(bits uint64) []string {
	out := []string{}
	for _, r := range reasons {
		if bits&r.bit != 0 {
			out = append(out, r.name)
		}
	}
	return out
}

func (d *device) throttle() []string {
	bits, r := d.handle.Number(EventReasons)
	if r == FunctionNotFound {
		bits, r = d.handle.Number(ThrottleReasons)
	}
	if r != Success {
		d.note(r)
		return nil
	}
	return Reasons(bits)
}

// percent keeps what is none out of the figures.
func percent(v uint32) *float64 {
	if v > 100 {
		return nil
	}
	f := float64(v)
	return &f
}

func bytes(v uint64) *int64 {
	i := int64(v)
	if i < 0 {
		return nil
	}
	return &i
}

func sortProcesses(p []gpu.GPUProcess) {
	slices.SortFunc(p, func(a, b gpu.GPUProcess) int {
		return cmp.Or(cmp.Compare(a.GPU, b.GPU), cmp.Compare(a.PID, b.PID))
	})
}
