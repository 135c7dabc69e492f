package hostdev

import (
	"fmt"
	"slices"
	"strings"

	"berth/backend/api"
)

const area = "gpu"

// Check says what stands between the host's GPUs and machines, and what to change.
func (h Host) Check(taken Taken, named []string) []api.Check {
	if len(h.GPUs) == 0 {
		return []api.Check{{Area: area, Name: "GPUs", Status: "info",
			Message: "this host has no GPU that could be given to a machine"}}
	}
	var out []api.Check
	if !h.IOMMU && slices.ContainsFunc(h.GPUs, func(g GPU) bool { return !g.Mediated }) {
		out = append(out, api.Check{Area: area, Name: "IOMMU", Status: "warn",
			Message: "the IOMMU is off, so that no GPU can be given to a machine",
			Fix:     "switch on VT-d (Intel) or AMD-Vi in the firmware, add intel_iommu=on or amd_iommu=on, and iommu=pt, to the kernel's command line, and restart the host"})
	}
	for _, g := range h.GPUs {
		out = append(out, h.checkGPU(g, taken, named))
	}
	for _, n := range named {
		id, ok := Normalize(n)
		if !ok {
			out = append(out, api.Check{Area: area, Name: n, Status: "warn",
				Message: fmt.Sprintf("the setting gpus names %q, which is no PCI address", n), Fix: "write it as 0000:41:00.0"})
		} else if !h.has(id) {
			out = append(out, api.Check{Area: area, Name: n, Status: "warn",
				Message: fmt.Sprintf("the setting gpus names %s, which this host does not have", n),
				Fix:     "correct gpus in [backend.libvirt]"})
		}
	}
	seen := map[string]bool{}
	for _, t := range h.Types {
		made := slices.ContainsFunc(h.GPUs, func(g GPU) bool { return g.Mediated && g.Parent == t.Parent })
		if made || seen[t.Parent] || t.Available == 0 {
			continue
		}
		seen[t.Parent] = true
		out = append(out, api.Check{Area: area, Name: t.Parent, Status: "info",
			Message: fmt.Sprintf("the GPU %s can be divided (%s, for one), but no part has been made", t.Parent,
				strings.TrimSpace(t.ID+" "+t.Name)),
			Fix: fmt.Sprintf("mdevctl start -u $(uuidgen) -p %s --type %s", t.Parent, t.ID)})
	}
	return out
}

func (h Host) has(id string) bool {
	for _, g := range h.GPUs {
		in := func(f Function) bool { return f.Address == id }
		if g.ID == id || slices.ContainsFunc(g.Functions, in) || slices.ContainsFunc(g.Shared, in) {
			return true
		}
	}
	return false
}

func (h Host) checkGPU(g GPU, taken Taken, named []string) api.Check {
	c := api.Check{Area: area, Name: g.ID, Status: "ok"}
	st := h.Status(g, taken, named)
	if st.Free {
		c.Message = g.Name + " is free"
		return c
	}
	c.Message = g.Name + ": " + st.Why
	if st.Holder != "" {
		return c
	}
	own := append([]Function{{Address: g.ID, VendorID: g.VendorID, ProductID: g.ProductID, Driver: g.Driver}},
		g.Functions...)
	used := func(f Function) bool { return f.Driver != "" && !reserved(f.Driver) }
	i := slices.IndexFunc(g.Shared, used)
	switch {
	case g.Group < 0 && !h.IOMMU:
		c.Status = "info" // said once, above
	case g.Group < 0:
		c.Status, c.Fix = "warn", "the firmware left it out of the IOMMU: look for an update, or put the card into another slot"
	case strings.HasSuffix(st.Why, "parts"):
		c.Status = "info"
	case g.BootVGA && !slices.ContainsFunc(named, func(s string) bool { n, _ := Normalize(s); return n == g.ID }):
		c.Status = "info"
		c.Fix = fmt.Sprintf("to give it away all the same (the host's screen goes dark): gpus = %q in [backend.libvirt]",
			g.ID)
	case slices.ContainsFunc(own, used) && strings.Contains(st.Why, "the host uses"):
		c.Status = "info"
		c.Fix = fmt.Sprintf("to keep it for machines: the line \"options vfio-pci ids=%s\" in /etc/modprobe.d/vfio.conf, update-initramfs -u (or dracut -f), and restart the host; or, to take it from the host's driver at each start: gpus = %q in [backend.libvirt]", ids(own), g.ID)
	case i >= 0:
		c.Status = "warn"
		c.Fix = fmt.Sprintf("put the card into a slot whose IOMMU group has nothing else in it; or keep %s for machines too",
			g.Shared[i].describe())
	}
	return c
}

// ids are the vendor and product ids of functions, for vfio-pci.
func ids(fs []Function) string {
	var out []string
	for _, f := range fs {
		if s := fmt.Sprintf("%04x:%04x", f.VendorID, f.ProductID); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return strings.Join(out, ",")
}
