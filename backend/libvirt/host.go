package libvirt

import (
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"berth/backend/api"
)

// hostFacts is what libvirtd's host is and can do; it is asked for once a connection.
type hostFacts struct {
	arch   string // as libvirt names it
	vcpus  int
	memory int64 // bytes
	guests map[string][]string
	noKVM  string // why KVM can't be used; "": it can
}

// goArch names libvirt's architectures as Go does.
var goArch = map[string]string{"x86_64": "amd64", "aarch64": "arm64"}

// hostFacts asks for the host.
func (b *Backend) hostFacts(ctx context.Context) (hostFacts, error) {
	c, err := b.shared(ctx)
	if err != nil {
		return hostFacts{}, err
	}
	if h, ok := b.host.get(c); ok {
		return h, nil
	}
	const what = "asking what the host can do"
	text, err := call(ctx, b, what, func(l *golibvirt.Libvirt) (string, error) { return l.ConnectGetCapabilities() })
	if err != nil {
		return hostFacts{}, err
	}
	h, cpu, err := parseCapabilities(text)
	if err != nil {
		return h, err
	}
	type node struct {
		kib  uint64
		cpus int32
	}
	n, err := call(ctx, b, what, func(l *golibvirt.Libvirt) (node, error) {
		_, kib, cpus, _, _, _, _, _, err := l.NodeGetInfo()
		return node{kib, cpus}, err
	})
	if err != nil {
		return h, err
	}
	h.vcpus, h.memory = int(n.cpus), int64(n.kib)<<10
	if h.noKVM == "" && h.arch == "x86_64" && !hasVirt(cpu) {
		// A model stands for features that are not listed beside it.
		full, err := call(ctx, b, what, func(l *golibvirt.Libvirt) (string, error) {
			return l.ConnectBaselineCPU([]string{cpu}, golibvirt.ConnectBaselineCPUExpandFeatures)
		})
		if err != nil || !hasVirt(full) {
			h.noKVM = "its processor shows neither vmx nor svm: virtualization is switched off in its firmware, or it is a virtual machine itself"
		}
	}
	b.host.set(c, h)
	return h, nil
}

// hasVirt reports whether a CPU's XML names a feature that KVM needs.
func hasVirt(cpu string) bool {
	var c struct {
		Features []struct {
			Name   string `xml:"name,attr"`
			Policy string `xml:"policy,attr"`
		} `xml:"feature"`
	}
	if xml.Unmarshal([]byte(cpu), &c) != nil {
		return false
	}
	for _, f := range c.Features {
		if (f.Name == "vmx" || f.Name == "svm") && f.Policy != "disable" && f.Policy != "forbid" {
			return true
		}
	}
	return false
}

// parseCapabilities reads libvirt's capabilities; cpu is the host's processor as ConnectBaselineCPU takes it.
func parseCapabilities(text string) (h hostFacts, cpu string, err error) {
	var caps libvirtxml.Caps
	if err := caps.Unmarshal(text); err != nil {
		return h, "", fmt.Errorf("reading libvirt's capabilities: %w", err)
	}
	h.guests = map[string][]string{}
	if caps.Host.CPU != nil {
		h.arch = caps.Host.CPU.Arch
		if cpu, err = caps.Host.CPU.Marshal(); err != nil {
			return h, "", fmt.Errorf("encoding the host's processor: %w", err)
		}
	}
	for _, g := range caps.Guests {
		if g.OSType != "hvm" {
			continue
		}
		for _, d := range g.Arch.Domains {
			h.guests[g.Arch.Name] = append(h.guests[g.Arch.Name], d.Type)
		}
	}
	switch {
	case len(h.guests) == 0:
		h.noKVM = "libvirt finds no qemu on its host"
	case !slices.Contains(h.guests[h.arch], "kvm"):
		h.noKVM = "libvirt finds no KVM on its host: /dev/kvm is missing, or libvirtd may not open it"
	}
	return h, cpu, nil
}

// virtType decides between KVM and emulation for guests of an architecture (as libvirt names it).
func (b *Backend) virtType(h hostFacts, arch string) (string, error) {
	types := h.guests[arch]
	if len(types) == 0 {
		return "", api.Errorf(api.CodeUnsupported, "the host of %s has no qemu for %s", b.cfg.uri.text,
			or(goArch[arch], arch)).
			WithHint("install it there (Debian, Ubuntu: qemu-system-x86 or qemu-system-arm)")
	}
	why := h.noKVM
	if arch != h.arch && why == "" {
		why = "the host is " + h.arch
	}
	switch {
	case b.cfg.accel == "emulate" || b.cfg.accel == "auto" && why != "":
		if !slices.Contains(types, "qemu") {
			return "", api.Errorf(api.CodeUnsupported, "the qemu on the host of %s can't emulate", b.cfg.uri.text)
		}
		return "qemu", nil
	case why != "":
		return "", api.Errorf(api.CodeUnsupported, "backend.libvirt.accel is kvm, but %s", why).
			WithHint("set it to auto or emulate; an emulated machine is some ten times slower")
	}
	return "kvm", nil
}

// libvirtArch names Go's architectures as libvirt does; "" is the host's.
func (h hostFacts) libvirtArch(goName string) string {
	for l, g := range goArch {
		if g == goName {
			return l
		}
	}
	if goName == "" {
		return h.arch
	}
	return strings.ToLower(goName)
}
