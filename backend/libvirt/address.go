package libvirt

import (
	"context"
	"net/netip"
	"strings"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"golang.org/x/sync/errgroup"
)

// The guest agent answers at once, or not at all: a list does not wait for those that do not.
const agentWithin = 2 * time.Second

// addresses finds the addresses of running machines: by the leases of their network, by the guest agent,
// by the host's ARP table, in that order.
func (b *Backend) addresses(ctx context.Context, doms []golibvirt.Domain,
	entries []*entry) (map[golibvirt.UUID]string, error) {
	out := map[golibvirt.UUID]string{}
	leases := map[string]map[string]lease{} // by network and MAC
	var rest []int
	for i, e := range entries {
		if e.meta.Port != 0 || doms[i].ID < 0 {
			continue
		}
		n, err := parseNetwork(e.meta.Network)
		if err != nil || n.kind != netNetwork {
			rest = append(rest, i)
			continue
		}
		if _, ok := leases[n.name]; !ok {
			if leases[n.name], err = b.leases(ctx, n.name); err != nil {
				return nil, err
			}
		}
		if a := leases[n.name][macOf(e.meta.Token)].addr; a != "" {
			out[doms[i].UUID] = a
			continue
		}
		rest = append(rest, i)
	}
	var g errgroup.Group
	g.SetLimit(readers)
	found := make([]string, len(doms))
	for _, i := range rest {
		if entries[i].addr != "" {
			found[i] = entries[i].addr
			continue
		}
		g.Go(func() error {
			found[i] = b.askAround(ctx, doms[i], macOf(entries[i].meta.Token))
			if found[i] != "" {
				b.known.setAddr(doms[i].UUID, entries[i], found[i])
			}
			return nil
		})
	}
	_ = g.Wait() // no address is no error: there is none yet
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, i := range rest {
		if found[i] != "" {
			out[doms[i].UUID] = found[i]
		}
	}
	return out, nil
}

type lease struct {
	addr string
	till int64
}

// leases returns a network's leases by MAC: of several the one that lasts longest.
func (b *Backend) leases(ctx context.Context, network string) (map[string]lease, error) {
	all, err := call(ctx, b, "asking for the leases of the network "+network,
		func(l *golibvirt.Libvirt) ([]golibvirt.NetworkDhcpLease, error) {
			n, err := l.NetworkLookupByName(network)
			if err != nil {
				return nil, err
			}
			leases, _, err := l.NetworkGetDhcpLeases(n, nil, 1, 0)
			return leases, err
		})
	if isGone(err) || says(err, "is not active") {
		return nil, nil // no network, no leases
	}
	if err != nil {
		return nil, err
	}
	return byMAC(all), nil
}

func byMAC(all []golibvirt.NetworkDhcpLease) map[string]lease {
	out := map[string]lease{}
	for _, l := range all {
		if len(l.Mac) == 0 {
			continue
		}
		mac := strings.ToLower(l.Mac[0])
		if a, err := netip.ParseAddr(l.Ipaddr); err != nil || !a.Is4() {
			continue
		}
		if have, ok := out[mac]; !ok || l.Expirytime > have.till {
			out[mac] = lease{l.Ipaddr, l.Expirytime}
		}
	}
	return out
}

// askAround asks the guest agent, then the host's ARP table.
func (b *Backend) askAround(ctx context.Context, dom golibvirt.Domain, mac string) string {
	ctx, cancel := context.WithTimeout(ctx, agentWithin)
	defer cancel()
	for _, src := range []golibvirt.DomainInterfaceAddressesSource{golibvirt.DomainInterfaceAddressesSrcAgent,
		golibvirt.DomainInterfaceAddressesSrcArp} {
		cards, err := call(ctx, b, "asking for the address of "+dom.Name,
			func(l *golibvirt.Libvirt) ([]golibvirt.DomainInterface, error) {
				return l.DomainInterfaceAddresses(dom, uint32(src), 0)
			})
		if err != nil {
			continue // no agent, no entry: nobody knows it yet
		}
		if a := pickAddr(cards, mac); a != "" {
			return a
		}
	}
	return ""
}

// pickAddr chooses the address of the card with this MAC that others can reach: IPv4 before IPv6.
func pickAddr(cards []golibvirt.DomainInterface, mac string) string {
	var six string
	for _, c := range cards {
		if len(c.Hwaddr) == 0 || !strings.EqualFold(c.Hwaddr[0], mac) {
			continue
		}
		for _, ip := range c.Addrs {
			a, err := netip.ParseAddr(ip.Addr)
			if err != nil || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || a.IsMulticast() {
				continue
			}
			if a.Is4() {
				return a.String()
			}
			six = or(six, a.String())
		}
	}
	return six
}
