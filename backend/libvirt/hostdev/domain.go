package hostdev

import (
	"fmt"

	"libvirt.org/go/libvirtxml"
)

// IDs are the devices that a machine with these GPUs has: what Taken names.
func IDs(gpus []GPU) []string {
	var out []string
	for _, g := range gpus {
		out = append(out, g.ID)
		for _, f := range g.Functions {
			out = append(out, f.Address)
		}
	}
	return out
}

// DomainHostdevs returns the GPUs, with the functions that go along, as devices of a domain. Where the host
// keeps the device for machines already, or it is a part of one, libvirt changes no driver (managed no);
// else it takes the device at start and gives it back at stop.
func DomainHostdevs(gpus []GPU) ([]libvirtxml.DomainHostdev, error) {
	var out []libvirtxml.DomainHostdev
	for _, g := range gpus {
		if g.Mediated {
			out = append(out, libvirtxml.DomainHostdev{Managed: "no",
				SubsysMDev: &libvirtxml.DomainHostdevSubsysMDev{Model: "vfio-pci", Display: "off",
					Source: &libvirtxml.DomainHostdevSubsysMDevSource{Address: &libvirtxml.DomainAddressMDev{UUID: g.ID}}}})
			continue
		}
		for _, f := range append([]Function{{Address: g.ID, Driver: g.Driver}}, g.Functions...) {
			var dom, bus, slot, fn uint
			if _, err := fmt.Sscanf(f.Address, "%x:%x:%x.%x", &dom, &bus, &slot, &fn); err != nil {
				return nil, fmt.Errorf("%q is no PCI address: %w", f.Address, err)
			}
			managed := "yes"
			if reserved(f.Driver) || g.Parent != "" {
				managed = "no"
			}
			out = append(out, libvirtxml.DomainHostdev{Managed: managed, SubsysPCI: &libvirtxml.DomainHostdevSubsysPCI{
				Source: &libvirtxml.DomainHostdevSubsysPCISource{Address: &libvirtxml.DomainAddressPCI{Domain: &dom, Bus: &bus,
					Slot: &slot, Function: &fn}}}})
		}
	}
	return out, nil
}

// DomainIDs are the devices that a domain's definition names, as Taken names them.
func DomainIDs(devs []libvirtxml.DomainHostdev) []string {
	var out []string
	for _, d := range devs {
		switch {
		case d.SubsysPCI != nil && d.SubsysPCI.Source != nil && d.SubsysPCI.Source.Address != nil:
			a := d.SubsysPCI.Source.Address
			if s, err := address(a.Domain, a.Bus, a.Slot, a.Function); err == nil {
				out = append(out, s)
			}
		case d.SubsysMDev != nil && d.SubsysMDev.Source != nil && d.SubsysMDev.Source.Address != nil:
			if s, ok := Normalize(d.SubsysMDev.Source.Address.UUID); ok {
				out = append(out, s)
			}
		}
	}
	return out
}
