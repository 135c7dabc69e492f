package probe

import "berth/gpu"

// memory is what is known of GPUs beyond one child's life: which there are, and what happened to them. A GPU
// that fell off the bus often is no longer listed by a driver that is asked anew; that must not look as if it
// had never been there.
type memory struct {
	driver string
	known  map[string]gpu.GPU // by UUID: who it is
	xids   map[string]gpu.XID
}

// gone is what is said of a GPU that is no longer listed.
const gone = "lost: the driver does not list it any more; it fell off the bus, or was taken from this host; look into dmesg, a reboot may bring it back"

// maxKnown bounds the memory on a host whose GPUs change names for ever.
const maxKnown = 1024

// complete adds to a reading what an earlier child knew.
func (m *memory) complete(r *gpu.Reading) {
	if m.known == nil || m.driver != r.DriverVersion || len(m.known) > maxKnown {
		*m = memory{driver: r.DriverVersion, known: map[string]gpu.GPU{}, xids: map[string]gpu.XID{}}
	}
	listed := make(map[string]bool, len(r.GPUs))
	indices := make(map[int]bool, len(r.GPUs))
	for _, g := range r.GPUs {
		listed[g.UUID], indices[g.Index] = true, true
	}
	for i := range r.GPUs {
		g := &r.GPUs[i]
		if g.UUID == "" {
			for _, k := range m.known { // the handle is refused, the place is known
				if k.Index == g.Index && !listed[k.UUID] {
					g.UUID, g.Name, g.PCI = k.UUID, k.Name, k.PCI
					listed[k.UUID] = true
					break
				}
			}
		}
		if g.UUID == "" {
			continue
		}
		m.known[g.UUID] = gpu.GPU{Index: g.Index, UUID: g.UUID, Name: g.Name, PCI: g.PCI}
		if g.LastXID != nil {
			m.xids[g.UUID] = *g.LastXID
		} else if x, ok := m.xids[g.UUID]; ok {
			g.LastXID = &x
		}
	}
	next := 0
	for _, g := range r.GPUs {
		next = max(next, g.Index+1)
	}
	for _, k := range m.order() {
		if listed[k.UUID] {
			continue
		}
		if indices[k.Index] { // the others moved up
			k.Index = next
		}
		indices[k.Index] = true
		next = max(next, k.Index+1)
		k.Error = gone
		if x, ok := m.xids[k.UUID]; ok {
			k.LastXID = &x
		}
		r.GPUs = insert(r.GPUs, k)
	}
}

// order lists the known GPUs by the place they had.
func (m *memory) order() []gpu.GPU {
	var out []gpu.GPU
	for _, k := range m.known {
		out = insert(out, k)
	}
	return out
}

// insert keeps a list in the order of index and UUID.
func insert(list []gpu.GPU, g gpu.GPU) []gpu.GPU {
	at := len(list)
	for at > 0 && (list[at-1].Index > g.Index || list[at-1].Index == g.Index && list[at-1].UUID > g.UUID) {
		at--
	}
	list = append(list, gpu.GPU{})
	copy(list[at+1:], list[at:])
	list[at] = g
	return list
}
