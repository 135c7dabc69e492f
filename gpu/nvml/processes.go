package nvml

import (
	"time"

	"berth/gpu"
)

// sampleLife is how long a process's sample stands for what it does: the driver makes a new one each
// sixth of a second to second, and none of a process that does nothing.
const sampleLife = 3 * time.Second

type processKey struct {
	gpu int
	pid uint32
}

type processSample struct {
	Sample
	seen time.Time
}

// processes lists who has memory on a GPU. Of a GPU that is divided its parts are asked: the whole
// answers only to root.
func (d *device) processes(s *Source, now time.Time) []gpu.GPUProcess {
	if len(d.mig) > 0 {
		var out []gpu.GPUProcess
		for _, m := range d.mig {
			for _, p := range d.list(m.handle) {
				i := m.mig.Index
				p.MIG = &i
				out = append(out, p)
			}
		}
		sortProcesses(out)
		return out
	}
	out := d.list(d.handle)
	if len(out) > 0 && d.sample(s, now) {
		for i := range out {
			p := s.processSamples[processKey{d.index, uint32(out[i].PID)}]
			if now.Sub(p.seen) > sampleLife {
				p = processSample{}
			}
			out[i].SM, out[i].Encoder, out[i].Decoder = percent(p.SM), percent(p.Encoder), percent(p.Decoder)
		}
	}
	sortProcesses(out)
	return out
}

// list asks a GPU or a part of one for its processes; one that computes and draws is a computing one.
func (d *device) list(h Device) []gpu.GPUProcess {
	var out []gpu.GPUProcess
	at := map[uint32]int{}
	for _, graphics := range []bool{false, true} {
		list, r := h.Processes(graphics)
		if r != Success {
			d.note(r)
			continue
		}
		for _, p := range list {
			var memory *int64
			if p.Memory != notAvailable {
				memory = bytes(p.Memory)
			}
			if i, twice := at[p.PID]; twice {
				if out[i].Memory == nil || memory != nil && *memory > *out[i].Memory {
					out[i].Memory = memory
				}
				continue
			}
			at[p.PID] = len(out)
			kind := "compute"
			if graphics {
				kind = "graphics"
			}
			out = append(out, gpu.GPUProcess{PID: int(p.PID), GPU: d.index, Kind: kind, Memory: memory})
		}
	}
	return out
}

// sample takes what processes used since the last time; false: the GPU does not tell.
func (d *device) sample(s *Source, now time.Time) bool {
	list, r := d.handle.Samples(d.lastSample)
	if r != Success && r != NotFound { // not found: nobody did anything
		d.note(r)
		return false
	}
	newest := d.lastSample
	for _, p := range list {
		// The driver's ring has rubbish of processes that ended: shares above 100, times of long ago or of none.
		if p.PID == 0 || p.At <= d.lastSample || p.SM > 100 || p.Encoder > 100 || p.Decoder > 100 {
			continue
		}
		if p.At > uint64(now.Add(time.Minute).UnixMicro()) || p.At < uint64(now.Add(-time.Hour).UnixMicro()) {
			continue
		}
		k := processKey{d.index, p.PID}
		if old, ok := s.processSamples[k]; !ok || p.At >= old.At {
			s.processSamples[k] = processSample{p, now}
		}
		newest = max(newest, p.At)
	}
	d.lastSample = newest
	return true
}

// forget drops the samples of processes that are gone.
func (s *Source) forget(alive []gpu.GPUProcess, now time.Time) {
	if len(s.processSamples) == 0 {
		return
	}
	known := make(map[processKey]bool, len(alive))
	for _, p := range alive {
		known[processKey{p.GPU, uint32(p.PID)}] = true
	}
	for k, p := range s.processSamples {
		if !known[k] || now.Sub(p.seen) > sampleLife {
			delete(s.processSamples, k)
		}
	}
}
