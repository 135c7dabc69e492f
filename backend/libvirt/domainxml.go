package libvirt

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// plan is all that a domain's XML is made of.
type plan struct {
	uuid     string
	name     string
	meta     metadata
	virtType string // kvm or qemu
	arch     string // as libvirt names it
	vcpus    int
	memory   int64 // bytes
	disk     string
	seed     string
	log      string
	kernel   string // of a direct boot; paths on libvirtd's host
	initrd   string
	net      network
	hostdevs []libvirtxml.DomainHostdev
}

// Devices of our own command line sit where libvirt puts nothing by itself.
const userNetSlot = "0x10"

// domainXML describes a machine to libvirt.
func domainXML(p plan) (string, error) {
	meta, err := xml.Marshal(p.meta)
	if err != nil {
		return "", fmt.Errorf("encoding the metadata of %s: %w", p.name, err)
	}
	port := uint(0)
	d := &libvirtxml.Domain{
		Type: p.virtType, Name: p.name, UUID: p.uuid,
		Title:    "Berth: " + p.meta.Name,
		Metadata: &libvirtxml.DomainMetadata{XML: string(meta)},
		Memory:   &libvirtxml.DomainMemory{Value: uint(p.memory >> 10), Unit: "KiB"},
		VCPU:     &libvirtxml.DomainVCPU{Value: uint(p.vcpus)},
		OS:       &libvirtxml.DomainOS{Type: &libvirtxml.DomainOSType{Arch: p.arch, Machine: "q35", Type: "hvm"}},
		Features: &libvirtxml.DomainFeatureList{ACPI: &libvirtxml.DomainFeature{}, APIC: &libvirtxml.DomainFeatureAPIC{}},
		CPU:      &libvirtxml.DomainCPU{Mode: "maximum"},
		Clock:    &libvirtxml.DomainClock{Offset: "utc"},
		// A system that has crashed stays to be looked at, switched off as any other.
		OnPoweroff: "destroy", OnReboot: "restart", OnCrash: "preserve",
		Devices: &libvirtxml.DomainDeviceList{
			Disks: []libvirtxml.DomainDisk{
				{
					Device: "disk", Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "qcow2", Discard: "unmap"},
					Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: p.disk}},
					Target: &libvirtxml.DomainDiskTarget{Dev: "vda", Bus: "virtio"},
				},
				{
					Device: "disk", Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "raw"},
					Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: p.seed}},
					Target: &libvirtxml.DomainDiskTarget{Dev: "vdb", Bus: "virtio"}, ReadOnly: &libvirtxml.DomainDiskReadOnly{},
				},
			},
			Controllers: []libvirtxml.DomainController{{Type: "usb", Model: "none"}},
			Serials: []libvirtxml.DomainSerial{{
				Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}},
				Target: &libvirtxml.DomainSerialTarget{Port: &port},
				Log:    &libvirtxml.DomainChardevLog{File: p.log, Append: "off"},
			}},
			Consoles: []libvirtxml.DomainConsole{{
				Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}},
				Target: &libvirtxml.DomainConsoleTarget{Type: "serial", Port: &port},
			}},
			Channels: []libvirtxml.DomainChannel{{
				Source: &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{}},
				Target: &libvirtxml.DomainChannelTarget{VirtIO: &libvirtxml.DomainChannelTargetVirtIO{Name: "org.qemu.guest_agent.0"}},
			}},
			MemBalloon: &libvirtxml.DomainMemBalloon{Model: "virtio"},
			RNGs: []libvirtxml.DomainRNG{{Model: "virtio", Backend: &libvirtxml.DomainRNGBackend{
				Random: &libvirtxml.DomainRNGBackendRandom{Device: "/dev/urandom"}}}},
			Panics:   []libvirtxml.DomainPanic{{Model: "isa"}},
			Hostdevs: p.hostdevs,
		},
	}
	if p.arch != "x86_64" {
		d.OS.Type.Machine, d.OS.Firmware = "virt", "efi"
		d.Devices.Panics = []libvirtxml.DomainPanic{{Model: "pvpanic"}}
	}
	if p.kernel != "" {
		d.OS.Firmware, d.OS.Kernel, d.OS.Initrd, d.OS.Cmdline = "", p.kernel, p.initrd, p.meta.Append
	}
	if p.virtType == "kvm" {
		// Migratable, as it is by default: else no snapshot could keep the memory.
		d.CPU = &libvirtxml.DomainCPU{Mode: "host-passthrough"}
	}
	if p.virtType == "qemu" {
		d.Features.TCG = &libvirtxml.DomainFeatureTCG{TBCache: &libvirtxml.DomainFeatureTCGTBCache{Unit: "MiB",
			Size: translationCache(p.memory)}}
	}
	setNetwork(d, p.net, macOf(p.meta.Token), p.meta.Port)
	out, err := d.Marshal()
	if err != nil {
		return "", fmt.Errorf("encoding the domain %s: %w", p.name, err)
	}
	return out, nil
}

// translationCache is how much memory, in MiB, an emulated machine has for translated code. A restart drops
// all of it, page by page: qemu's own choice, a gigabyte, makes the restart of a small machine take half a
// minute; too little makes a large system translate the same code again and again.
func translationCache(memory int64) uint {
	if memory <= 1<<30 {
		return 64
	}
	return 512
}

// setNetwork gives a domain its one network card.
func setNetwork(d *libvirtxml.Domain, n network, mac string, port int) {
	card := libvirtxml.DomainInterface{MAC: &libvirtxml.DomainInterfaceMAC{Address: mac},
		Model: &libvirtxml.DomainInterfaceModel{Type: "virtio"}}
	d.Devices.Interfaces, d.QEMUCommandline = nil, nil
	switch n.kind {
	case netUser:
		// libvirt's own user networking forwards no port before 9.2, and needs passt from then on.
		d.QEMUCommandline = &libvirtxml.DomainQEMUCommandline{Args: []libvirtxml.DomainQEMUCommandlineArg{
			{Value: "-netdev"}, {Value: fmt.Sprintf("user,id=berth0,hostfwd=tcp:127.0.0.1:%d-:22", port)},
			{Value: "-device"}, {Value: "virtio-net-pci,netdev=berth0,mac=" + mac + ",addr=" + userNetSlot},
		}}
		return
	case netBridge:
		card.Source = &libvirtxml.DomainInterfaceSource{Bridge: &libvirtxml.DomainInterfaceSourceBridge{Bridge: n.name}}
	default:
		card.Source = &libvirtxml.DomainInterfaceSource{Network: &libvirtxml.DomainInterfaceSourceNetwork{Network: n.name}}
	}
	d.Devices.Interfaces = []libvirtxml.DomainInterface{card}
}

// change rewrites the XML of a domain that is switched off.
func change(text string, f func(d *libvirtxml.Domain, m *metadata) error) (string, error) {
	d := &libvirtxml.Domain{}
	if err := d.Unmarshal(text); err != nil {
		return "", fmt.Errorf("reading a domain's XML: %w", err)
	}
	read, err := parseDomain(text)
	if err != nil {
		return "", err
	}
	m := read.own()
	if m == nil {
		return "", fmt.Errorf("the domain %s carries no metadata of Berth's", d.Name)
	}
	if err := f(d, m); err != nil {
		return "", err
	}
	meta, err := xml.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encoding the metadata of %s: %w", d.Name, err)
	}
	other, err := withoutOwn(d.Metadata.XML)
	if err != nil {
		return "", err
	}
	d.Metadata.XML = string(meta) + other
	return d.Marshal()
}

// withoutOwn returns the metadata that others keep in a domain.
func withoutOwn(inner string) (string, error) {
	dec := xml.NewDecoder(strings.NewReader(inner))
	depth, from := 0, int64(-1)
	var out strings.Builder
	last := int64(0)
	for {
		at := dec.InputOffset()
		t, err := dec.Token()
		if errors.Is(err, io.EOF) {
			out.WriteString(inner[last:])
			return strings.TrimSpace(out.String()), nil
		}
		if err != nil {
			return "", fmt.Errorf("reading a domain's metadata: %w", err)
		}
		switch e := t.(type) {
		case xml.StartElement:
			if depth == 0 && e.Name.Space == namespace {
				from = at
			}
			depth++
		case xml.EndElement:
			if depth--; depth == 0 && from >= 0 {
				out.WriteString(inner[last:from])
				last, from = dec.InputOffset(), -1
			}
		}
	}
}
