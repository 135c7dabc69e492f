package hostdev

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"libvirt.org/go/libvirtxml"
)

// GPU is a GPU that could be given to a machine: a PCI device, or a mediated device (a part of one).
type GPU struct {
	ID          string // PCI address, "0000:41:00.0", or the UUID of a mediated device
	Name        string // "NVIDIA A100 80GB PCIe"
	MemoryBytes int64  // 0: it can't be told from the name
	Mediated    bool
	MDevType    string     // of a mediated device: "nvidia-474"
	Parent      string     // PCI address of the device that a mediated device or virtual function is part of
	Driver      string     // of the host; empty: none
	NUMA        int        // -1: not known
	Group       int        // IOMMU group; -1: none
	BootVGA     bool       // the host's screen, as far as can be told
	Functions   []Function // of the same card, which go along: audio, USB-C
	Shared      []Function // of other cards in the same IOMMU group
	VendorID    uint16
	ProductID   uint16
}

// Function is a PCI function.
type Function struct {
	Address   string
	Name      string
	Class     uint32 // 0x040300
	Driver    string
	VendorID  uint16
	ProductID uint16
	gpu       bool
}

// MDevType is a kind of mediated device that a GPU can be divided into.
type MDevType struct {
	Parent    string // PCI address
	ID        string
	Name      string
	Available uint // that can be made now
}

// Host is what the node devices say.
type Host struct {
	GPUs  []GPU // by ID, PCI devices first
	Types []MDevType
	IOMMU bool // there are IOMMU groups
}

const (
	vendorNVIDIA = 0x10de
	vendorAMD    = 0x1002
	vendorIntel  = 0x8086
)

// pciDevice is a PCI device of the host.
type pciDevice struct {
	Function
	group  int
	numa   int
	parent string // of a virtual function
	types  []libvirtxml.NodeDeviceMDevType
	name   string // of the node device
}

func (f Function) vga() bool    { return f.Class>>8 == 0x0300 }
func (f Function) bridge() bool { return f.Class>>16 == 0x06 }

// isGPU tells those that compute from what only draws a server's screen.
func (f Function) isGPU() bool {
	switch f.Class >> 8 {
	case 0x0300, 0x0302, 0x0380, 0x1200:
	default:
		return false
	}
	switch f.VendorID {
	case vendorNVIDIA, vendorAMD:
		return true
	case vendorIntel: // on bus 0 it is a part of the processor
		return !strings.HasPrefix(f.Address, "0000:00:")
	}
	return false
}

// slot is the address without the function.
func slot(address string) string { s, _, _ := strings.Cut(address, "."); return s }

// Parse reads the XML of all PCI and mediated node devices of a host; others are passed over.
func Parse(xmls []string) (Host, error) {
	pci := map[string]pciDevice{}
	byName := map[string]string{}
	var mdevs []libvirtxml.NodeDevice
	for i, text := range xmls {
		var d libvirtxml.NodeDevice
		if err := d.Unmarshal(text); err != nil {
			return Host{}, fmt.Errorf("reading node device %d of %d (%.60q): %w", i+1, len(xmls), text, err)
		}
		switch {
		case d.Capability.PCI != nil:
			p, err := readPCI(d)
			if err != nil {
				return Host{}, fmt.Errorf("reading node device %q: %w", d.Name, err)
			}
			pci[p.Address] = p
			byName[d.Name] = p.Address
		case d.Capability.MDev != nil:
			mdevs = append(mdevs, d)
		}
	}
	var h Host
	boot := bootScreen(pci)
	for _, a := range slices.Sorted(maps.Keys(pci)) {
		p := pci[a]
		h.IOMMU = h.IOMMU || p.group >= 0
		if !p.gpu {
			continue
		}
		g := GPU{ID: a, Name: modelName(p.VendorID, p.ProductID, p.Name), Driver: p.Driver, NUMA: p.numa, Group: p.group,
			BootVGA: a == boot,
			Parent:  p.parent, VendorID: p.VendorID, ProductID: p.ProductID}
		g.MemoryBytes = memoryOf(g.Name)
		for _, b := range slices.Sorted(maps.Keys(pci)) {
			o := pci[b]
			switch {
			case b == a || o.bridge():
			case slot(b) == slot(a) && !o.gpu && p.parent == "" && o.parent == "":
				g.Functions = append(g.Functions, o.Function)
			case p.group >= 0 && o.group == p.group:
				g.Shared = append(g.Shared, o.Function)
			}
		}
		h.GPUs = append(h.GPUs, g)
		for _, t := range p.types {
			h.Types = append(h.Types, MDevType{Parent: a, ID: t.ID, Name: t.Name, Available: t.AvailableInstances})
		}
	}
	for _, d := range mdevs {
		g, err := readMDev(d, pci, byName)
		if err != nil {
			return Host{}, fmt.Errorf("reading node device %q: %w", d.Name, err)
		}
		h.GPUs = append(h.GPUs, g)
	}
	slices.SortStableFunc(h.GPUs, func(a, b GPU) int {
		if a.Mediated != b.Mediated {
			return map[bool]int{false: -1, true: 1}[a.Mediated]
		}
		return cmp.Compare(a.ID, b.ID)
	})
	h.GPUs = slices.CompactFunc(h.GPUs, func(a, b GPU) bool { return a.ID == b.ID })
	return h, nil
}

func readPCI(d libvirtxml.NodeDevice) (pciDevice, error) {
	c := d.Capability.PCI
	p := pciDevice{group: -1, numa: -1, name: d.Name}
	a, err := address(c.Domain, c.Bus, c.Slot, c.Function)
	if err != nil {
		return p, err
	}
	p.Address, p.Name = a, strings.TrimSpace(c.Product.Name)
	// libvirt before 5.5 names no class, and devices whose bus is off have none.
	if c.Class != "" {
		n, err := strconv.ParseUint(c.Class, 0, 32)
		if err != nil || n > 0xffffff {
			return p, fmt.Errorf("the class %q is no PCI class", c.Class)
		}
		p.Class = uint32(n)
	}
	for _, id := range []struct {
		text string
		to   *uint16
	}{{c.Vendor.ID, &p.VendorID}, {c.Product.ID, &p.ProductID}} {
		if id.text == "" {
			continue
		}
		n, err := strconv.ParseUint(id.text, 0, 16)
		if err != nil {
			return p, fmt.Errorf("%q is no PCI id", id.text)
		}
		*id.to = uint16(n)
	}
	if d.Driver != nil {
		p.Driver = strings.TrimSpace(d.Driver.Name)
	}
	if c.IOMMUGroup != nil && c.IOMMUGroup.Number >= 0 {
		p.group = c.IOMMUGroup.Number
	}
	if c.NUMA != nil {
		p.numa = c.NUMA.Node
	}
	for _, sub := range c.Capabilities {
		if sub.MDevTypes != nil {
			p.types = append(p.types, sub.MDevTypes.Types...)
		}
		if sub.PhysFunction != nil {
			f := sub.PhysFunction.Address
			if p.parent, err = address(f.Domain, f.Bus, f.Slot, f.Function); err != nil {
				return p, err
			}
		}
	}
	p.gpu = p.isGPU()
	return p, nil
}

func address(domain, bus, slot, function *uint) (string, error) {
	if bus == nil || slot == nil || function == nil {
		return "", errors.New("it has no PCI address")
	}
	dom := uint(0)
	if domain != nil {
		dom = *domain
	}
	if *bus > 0xff || *slot > 0x1f || *function > 7 || dom > 0xffffffff {
		return "", errors.New("its PCI address can't be")
	}
	return fmt.Sprintf("%04x:%02x:%02x.%d", dom, *bus, *slot, *function), nil
}

var uuidRule = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
})

func readMDev(d libvirtxml.NodeDevice, pci map[string]pciDevice, byName map[string]string) (GPU, error) {
	c := d.Capability.MDev
	id := strings.ToLower(c.UUID)
	if id == "" { // libvirt before 7.3: mdev_UUID
		if s, ok := strings.CutPrefix(d.Name, "mdev_"); ok && len(s) >= 36 {
			id = strings.ReplaceAll(s[:36], "_", "-")
		}
	}
	if !uuidRule().MatchString(id) {
		return GPU{}, fmt.Errorf("%q is no UUID", id)
	}
	g := GPU{ID: id, Mediated: true, NUMA: -1, Group: -1, Parent: byName[d.Parent]}
	if g.Parent == "" {
		if a, ok := Normalize(c.ParentAddr); ok {
			g.Parent = a
		}
	}
	if c.Type != nil {
		g.MDevType = c.Type.ID
	}
	if c.IOMMUGroup != nil {
		g.Group = c.IOMMUGroup.Number
	}
	if d.Driver != nil {
		g.Driver = d.Driver.Name
	}
	name := g.MDevType
	if p, ok := pci[g.Parent]; ok {
		g.NUMA, g.VendorID, g.ProductID = p.numa, p.VendorID, p.ProductID
		for _, t := range p.types {
			if t.ID == g.MDevType && t.Name != "" {
				name = t.Name
			}
		}
	}
	g.Name = strings.TrimSpace(vendorName(g.VendorID) + " " + strings.TrimPrefix(strings.TrimPrefix(name, "NVIDIA "),
		"GRID "))
	g.MemoryBytes = memoryOf(g.Name)
	return g, nil
}

// bootScreen guesses the device that draws the host's screen, which libvirt does not name: a server's own
// screen chip if there is one, else the first graphics card, unless somebody reserved it for machines.
func bootScreen(pci map[string]pciDevice) string {
	first := ""
	for _, a := range slices.Sorted(maps.Keys(pci)) {
		p := pci[a]
		if !p.vga() || p.parent != "" {
			continue
		}
		if !p.gpu {
			return a
		}
		if first == "" {
			first = a
		}
	}
	if first != "" && reserved(pci[first].Driver) {
		return ""
	}
	return first
}

// reserved reports whether a driver only keeps a device for machines.
func reserved(driver string) bool {
	return strings.Contains(driver, "vfio") || driver == "pci-stub"
}

var nodeName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:pci_)?(?:([0-9a-fA-F]{4,8})[:_])?([0-9a-fA-F]{2})[:_]([0-1][0-9a-fA-F])[._]([0-7])$`)
})

// Normalize returns a PCI address ("41:00.0", "0000:41:00.0", "pci_0000_41_00_0") or a UUID as GPU.ID has it.
func Normalize(s string) (string, bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	if uuidRule().MatchString(s) {
		return s, true
	}
	m := nodeName().FindStringSubmatch(s)
	if m == nil {
		return "", false
	}
	n, err := strconv.ParseUint(cmp.Or(m[1], "0"), 16, 32)
	if err != nil {
		return "", false
	}
	return fmt.Sprintf("%04x:%s:%s.%s", n, m[2], m[3], m[4]), true
}
