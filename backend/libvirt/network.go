package libvirt

import (
	"context"
	"encoding/xml"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"berth/backend/api"
)

// The kinds of networks that a machine can be in.
const (
	netAuto    = ""        // decided by the host
	netNetwork = "network" // a network of libvirt's
	netBridge  = "bridge"  // a bridge of the host's
	netUser    = "user"    // none: a port on the host's loopback leads to the machine's SSH
)

// ownNetwork is the NAT network that Berth makes where none is there.
const ownNetwork = "berth"

// network is where a machine's network card leads.
type network struct{ kind, name string }

// parseNetwork reads what the setting network and --subnet take: auto, user, bridge:NAME or the NAME of a
// network of libvirt's.
func parseNetwork(s string) (network, error) {
	if name, ok := strings.CutPrefix(s, "bridge:"); ok {
		if !plainName().MatchString(name) || len(name) > 15 {
			return network{}, bad("network", s, "bridge: needs the name of a bridge of the host")
		}
		return network{netBridge, name}, nil
	}
	switch {
	case s == "auto" || s == "":
		return network{}, nil
	case s == netUser:
		return network{kind: netUser}, nil
	case !plainName().MatchString(s):
		return network{}, bad("network", s, "it must be auto, user, bridge:NAME or the name of a network of libvirt's")
	}
	return network{netNetwork, s}, nil
}

func (n network) String() string {
	switch n.kind {
	case netUser:
		return netUser
	case netBridge:
		return "bridge:" + n.name
	case netNetwork:
		return n.name
	}
	return "auto"
}

// network decides where a machine's card leads; subnet is the user's choice for this one. make says
// whether the own network is made if there is none.
func (b *Backend) network(ctx context.Context, subnet string, create bool) (network, error) {
	n, err := parseNetwork(or(subnet, b.cfg.network))
	if err != nil {
		return n, err
	}
	if n.kind == netUser || n.kind == netBridge {
		return n, nil
	}
	if n.kind == netAuto && b.cfg.uri.session {
		return network{kind: netUser}, nil
	}
	nets, err := call(ctx, b, "listing the networks", func(l *golibvirt.Libvirt) ([]golibvirt.Network, error) {
		nets, _, err := l.ConnectListAllNetworks(1, 0)
		return nets, err
	})
	if err != nil {
		return n, err
	}
	byName := map[string]golibvirt.Network{}
	for _, net := range nets {
		byName[net.Name] = net
	}
	if n.kind == netNetwork {
		if _, ok := byName[n.name]; !ok {
			return n, api.Errorf(api.CodeUsage, "there is no network %s in libvirt (%s)", n.name, b.cfg.uri.text).
				WithHint("%s net-list --all lists them; auto makes one", b.cfg.uri.virsh())
		}
		return n, b.activate(ctx, byName[n.name], create)
	}
	if own, ok := byName[ownNetwork]; ok {
		return network{netNetwork, ownNetwork}, b.activate(ctx, own, create)
	}
	if def, ok := byName["default"]; ok {
		active, err := b.networkActive(ctx, def)
		if err != nil || active {
			return network{netNetwork, "default"}, err
		}
	}
	if !create {
		return network{netNetwork, ownNetwork}, nil
	}
	return network{netNetwork, ownNetwork}, b.makeNetwork(ctx, nets)
}

func (b *Backend) networkActive(ctx context.Context, n golibvirt.Network) (bool, error) {
	on, err := call(ctx, b, "asking for the network "+n.Name, func(l *golibvirt.Libvirt) (int32, error) {
		return l.NetworkIsActive(n)
	})
	return on == 1, err
}

func (b *Backend) activate(ctx context.Context, n golibvirt.Network, start bool) error {
	if !start {
		return nil
	}
	active, err := b.networkActive(ctx, n)
	if err != nil || active {
		return err
	}
	err = b.do(ctx, "starting the network "+n.Name, func(l *golibvirt.Libvirt) error { return l.NetworkCreate(n) })
	if says(err, "already active") {
		return nil
	}
	return err
}

// makeNetwork makes the own NAT network in a subnet that nothing uses.
func (b *Backend) makeNetwork(ctx context.Context, have []golibvirt.Network) error {
	var used []netip.Prefix
	for _, n := range have {
		text, err := call(ctx, b, "reading the network "+n.Name, func(l *golibvirt.Libvirt) (string, error) {
			return l.NetworkGetXMLDesc(n, 0)
		})
		if err != nil && !isGone(err) {
			return err
		}
		used = append(used, prefixes(text)...)
	}
	if b.cfg.uri.host == nil {
		used = append(used, hostPrefixes()...)
	}
	var failed error
	for _, p := range freeSubnets(used, 4) {
		text, err := networkXML(p)
		if err != nil {
			return err
		}
		n, err := call(ctx, b, "making the network "+ownNetwork, func(l *golibvirt.Libvirt) (golibvirt.Network, error) {
			return l.NetworkDefineXML(text)
		})
		if err != nil {
			// Another process may have made it at this moment.
			if _, lerr := call(ctx, b, "", func(l *golibvirt.Libvirt) (golibvirt.Network, error) {
				return l.NetworkLookupByName(ownNetwork)
			}); lerr == nil {
				return nil
			}
			return err
		}
		if err := b.activate(ctx, n, true); err != nil {
			failed = err
			if says(err, "already in use") { // a route of a remote host, which only libvirtd there sees
				if uerr := b.do(ctx, "removing the network "+ownNetwork,
					func(l *golibvirt.Libvirt) error { return l.NetworkUndefine(n) }); uerr != nil {
					return uerr
				}
				continue
			}
			return err
		}
		return b.do(ctx, "letting the network "+ownNetwork+" start with the host",
			func(l *golibvirt.Libvirt) error { return l.NetworkSetAutostart(n, 1) })
	}
	if failed != nil {
		return failed
	}
	return api.Errorf(api.CodeFailed, "making the network %s: every subnet that was tried is in use", ownNetwork).
		WithHint("make a network by hand and name it with backend.libvirt.network")
}

// freeSubnets returns at most n subnets of 254 addresses that overlap nothing in use.
func freeSubnets(used []netip.Prefix, n int) []netip.Prefix {
	var out []netip.Prefix
	for _, r := range []struct {
		a, b  byte
		first int
	}{{10, 77, 77}, {192, 168, 200}} {
		for i := r.first; i < 250 && len(out) < n; i++ {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{r.a, r.b, byte(i), 0}), 24)
			if !slices.ContainsFunc(used, p.Overlaps) {
				out = append(out, p)
			}
		}
	}
	return out
}

// prefixes reads the subnets of a network's XML.
func prefixes(text string) []netip.Prefix {
	var n struct {
		IPs []struct {
			Address string `xml:"address,attr"`
			Netmask string `xml:"netmask,attr"`
			Prefix  int    `xml:"prefix,attr"`
		} `xml:"ip"`
	}
	if xml.Unmarshal([]byte(text), &n) != nil {
		return nil // libvirt's own XML; one that can't be read names no subnet to avoid
	}
	var out []netip.Prefix
	for _, ip := range n.IPs {
		a, err := netip.ParseAddr(ip.Address)
		if err != nil {
			continue
		}
		bits := ip.Prefix
		if m := net.ParseIP(ip.Netmask).To4(); m != nil {
			bits, _ = net.IPMask(m).Size()
		}
		if p, err := a.Prefix(bits); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// hostPrefixes are the subnets that this host is in.
func hostPrefixes() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil // libvirtd refuses a subnet that is in use
	}
	var out []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}

// networkXML describes the own NAT network in a subnet.
func networkXML(p netip.Prefix) (string, error) {
	a := p.Addr().As4()
	at := func(last byte) string { a[3] = last; return netip.AddrFrom4(a).String() }
	n := &libvirtxml.Network{
		Name: ownNetwork, Forward: &libvirtxml.NetworkForward{Mode: "nat"},
		Bridge: &libvirtxml.NetworkBridge{Name: "virbr-berth", STP: "on", Delay: "0"},
		IPs: []libvirtxml.NetworkIP{{Address: at(1), Netmask: "255.255.255.0",
			DHCP: &libvirtxml.NetworkDHCP{Ranges: []libvirtxml.NetworkDHCPRange{{Start: at(2), End: at(254)}}}}},
		// Before it gives an address out, dnsmasq would ping it for three seconds, serving nobody else
		// meanwhile: machines that boot side by side would give up.
		DnsmasqOptions: &libvirtxml.NetworkDnsmasqOptions{Option: []libvirtxml.NetworkDnsmasqOption{{Value: "no-ping"}}},
	}
	out, err := n.Marshal()
	if err != nil {
		return "", fmt.Errorf("encoding the network %s: %w", ownNetwork, err)
	}
	return out, nil
}
