package nvml

import (
	"context"
	"strconv"
	"strings"
	"time"

	"berth/gpu"
	"berth/gpu/xid"
)

// slow is what the goroutines beside Read found.
type slow struct {
	gpus     []slowGPU
	topology []gpu.Link
	asking   time.Time // since when a round is under way; zero: none is
}

type slowGPU struct {
	pcieRx, pcieTx     *int64
	nvlinkRx, nvlinkTx *int64
	nvlinks            *int
	xid                *gpu.XID
}

// addSlow puts it into a reading. What is old because a call hangs is left out.
func (s *Source) addSlow(out *gpu.Reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hangs := !s.slow.asking.IsZero() && time.Since(s.slow.asking) > slowLimit
	out.Topology = s.slow.topology
	for i := range out.GPUs {
		g, v := &out.GPUs[i], s.slow.gpus[i]
		g.LastXID = v.xid
		if g.Error == "" && !hangs {
			g.PCIeRx, g.PCIeTx, g.NVLinkRx, g.NVLinkTx, g.NVLinks = v.pcieRx, v.pcieTx, v.nvlinkRx, v.nvlinkTx, v.nvlinks
		}
	}
}

// counters are NVLink's of one GPU, as they were last.
type counters struct {
	tx, rx uint64 // KiB
	at     int64  // µs
}

// slowLoop measures what blocks, once each time that Read wakes it.
func (s *Source) slowLoop(ctx context.Context) {
	last := make([]counters, len(s.devices))
	up := make([]*int, len(s.devices))
	var upAt time.Time
	var topology []gpu.Link
	var topologyAt time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		s.mu.Lock()
		s.slow.asking = time.Now()
		s.mu.Unlock()
		countLinks := upAt.IsZero() || time.Since(upAt) >= linkStates
		if countLinks {
			upAt = time.Now()
		}
		for i, d := range s.devices {
			h := d.get()
			if h == nil || ctx.Err() != nil {
				continue
			}
			if countLinks {
				up[i] = links(h)
			}
			var v slowGPU
			v.pcieRx, v.pcieTx = kilobytes(h.Number(PCIeRx)), kilobytes(h.Number(PCIeTx))
			v.nvlinks = up[i]
			if v.nvlinks != nil {
				v.nvlinkRx, v.nvlinkTx = last[i].rates(h)
			}
			s.mu.Lock()
			v.xid = s.slow.gpus[i].xid
			s.slow.gpus[i] = v
			s.mu.Unlock()
		}
		// It never changes, but a GPU that was away when it was asked for may be back.
		if n := len(s.devices); n > 1 && len(topology) < n*(n-1)/2 && time.Since(topologyAt) > time.Minute {
			topology, topologyAt = s.topology(), time.Now()
		}
		s.mu.Lock()
		s.slow.topology, s.slow.asking = topology, time.Time{}
		s.mu.Unlock()
	}
}

// kilobytes turns KB/s into bytes a second.
func kilobytes(v uint64, r Return) *int64 {
	if r != Success {
		return nil
	}
	return bytes(v * 1000)
}

// links counts the NVLinks that are up; nil: it has none.
func links(h Device) *int {
	var up *int
	for l := range maxLinks {
		v, r := h.Number(NVLinkState(l))
		if r != Success {
			break
		}
		if up == nil {
			up = new(int)
		}
		*up += int(v & 1)
	}
	return up
}

// rates asks for the counters of all links and compares them with those before.
func (c *counters) rates(h Device) (rx, tx *int64) {
	f := []Field{{ID: fieldNVLinkRx, Scope: allLinks}, {ID: fieldNVLinkTx, Scope: allLinks}}
	if r := h.Fields(f); r != Success || f[0].Return != Success || f[1].Return != Success {
		*c = counters{}
		return nil, nil
	}
	now := counters{rx: f[0].Value, tx: f[1].Value, at: f[0].At}
	if now.at == 0 { // a driver that does not say when
		now.at = time.Now().UnixMicro()
	}
	before := *c
	*c = now
	dt := now.at - before.at
	if before.at == 0 || dt <= 0 || now.rx < before.rx || now.tx < before.tx {
		return nil, nil // the first time, a set clock, or a counter that began again
	}
	rate := func(a, b uint64) *int64 { return bytes(uint64(float64(b-a) * 1024 / float64(dt) * 1e6)) }
	return rate(before.rx, now.rx), rate(before.tx, now.tx)
}

// topology says how each pair of GPUs is connected.
func (s *Source) topology() []gpu.Link {
	type nvlinks struct {
		peers  map[string]int // by PCI address
		bridge int            // to a switch
	}
	ends := make([]nvlinks, len(s.devices))
	for i, d := range s.devices {
		ends[i].peers = map[string]int{}
		h := d.get()
		if h == nil {
			continue
		}
		for l := range maxLinks {
			v, r := h.Number(NVLinkState(l))
			if r != Success {
				break
			}
			if v == 0 {
				continue
			}
			if kind, r := h.Number(NVLinkRemoteType(l)); r == Success && kind == 2 {
				ends[i].bridge++
			} else if pci, r := h.NVLinkRemote(l); r == Success {
				ends[i].peers[strings.ToLower(pci)]++
			}
		}
	}
	var out []gpu.Link
	for a := range s.devices {
		for b := a + 1; b < len(s.devices); b++ {
			ha, hb := s.devices[a].get(), s.devices[b].get()
			if ha == nil || hb == nil {
				continue
			}
			pci, _ := hb.PCI()
			n := ends[a].peers[strings.ToLower(pci)]
			if n == 0 {
				n = min(ends[a].bridge, ends[b].bridge)
			}
			if n > 0 {
				out = append(out, gpu.Link{A: a, B: b, Kind: "NV" + strconv.Itoa(n)})
				continue
			}
			level, r := ha.Topology(hb)
			if kind := levels[level]; r == Success && kind != "" {
				out = append(out, gpu.Link{A: a, B: b, Kind: kind})
			}
		}
	}
	return out
}

// levels are NVML's, in nvidia-smi's words. Two GPUs on one board are as near as one switch.
var levels = map[uint32]string{0: "PIX", 10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}

// watch registers for XIDs, before the first reading; nil: WSL and some virtual GPUs have no events.
func (s *Source) watch() (EventSet, map[any]int) {
	set, r := s.lib.EventSet()
	if r != Success {
		return nil, nil
	}
	index := map[any]int{}
	for _, d := range s.devices {
		if h := d.get(); h != nil && h.Register(eventXID, set) == Success {
			index[h.Key()] = d.index
		}
	}
	if len(index) == 0 {
		set.Free()
		return nil, nil
	}
	return set, index
}

// events waits for XIDs.
func (s *Source) events(ctx context.Context, set EventSet, index map[any]int) {
	defer set.Free()
	for ctx.Err() == nil {
		e, r := set.Wait(eventWait)
		switch {
		case r == Success && e.Type == eventXID:
			i, ok := index[e.Device]
			if !ok {
				continue
			}
			x := xid.Event(int(e.Data), s.now().UTC())
			s.mu.Lock()
			s.slow.gpus[i].xid = &x
			s.mu.Unlock()
		case r == Success || r == Timeout:
		default: // a lost GPU makes the wait fail at once: don't spin
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}
