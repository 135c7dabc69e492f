package libvirt

import (
	"context"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// Get implements backend.Backend.
func (b *Backend) Get(ctx context.Context, ref backend.Ref) (backend.Machine, error) {
	dom, e, err := b.lookup(ctx, ref)
	if err != nil {
		return backend.Machine{}, err
	}
	m, err := b.look(ctx, dom, e)
	if isGone(err) {
		return m, b.gone(ref)
	}
	return m, err
}

type stateAnswer struct{ state, reason int32 }

func (b *Backend) state(ctx context.Context, dom golibvirt.Domain) (stateAnswer, error) {
	return call(ctx, b, "asking for the state of "+dom.Name, func(l *golibvirt.Libvirt) (stateAnswer, error) {
		s, r, err := l.DomainGetState(dom, 0)
		return stateAnswer{s, r}, err
	})
}

// look returns a machine as it is now.
func (b *Backend) look(ctx context.Context, dom golibvirt.Domain, e *entry) (backend.Machine, error) {
	s, err := b.state(ctx, dom)
	if err != nil {
		return backend.Machine{}, err
	}
	b.press(ctx, dom, s.state)
	addrs, err := b.addresses(ctx, []golibvirt.Domain{dom}, []*entry{e})
	if err != nil {
		return backend.Machine{}, err
	}
	return b.machine(dom, e, s.state, s.reason, addrs[dom.UUID]), nil
}

// List implements backend.Backend: one call for the states of all domains, and one for the leases of each
// network that has machines. A domain is read once, and again when it was changed.
func (b *Backend) List(ctx context.Context) ([]backend.Machine, error) {
	flags := golibvirt.ConnectGetAllDomainsStatsActive | golibvirt.ConnectGetAllDomainsStatsInactive |
		golibvirt.ConnectGetAllDomainsStatsNowait
	all, err := call(ctx, b, "listing the machines", func(l *golibvirt.Libvirt) ([]golibvirt.DomainStatsRecord, error) {
		return l.ConnectGetAllDomainStats(nil, uint32(golibvirt.DomainStatsState), uint32(flags))
	})
	if err != nil {
		if b.absent(err) {
			return nil, nil
		}
		return nil, err
	}
	doms, is := make([]golibvirt.Domain, len(all)), map[golibvirt.UUID]bool{}
	for i, r := range all {
		doms[i] = r.Dom
		is[r.Dom.UUID] = true
	}
	b.known.keep(is)
	entries, err := b.entries(ctx, doms)
	if err != nil {
		return nil, err
	}
	var up []golibvirt.Domain
	var upEntries []*entry
	states := make([]stateAnswer, len(all))
	for i, r := range all {
		if entries[i] == nil || entries[i].meta == nil {
			continue
		}
		states[i] = stateAnswer{param(r, golibvirt.DomainStatsStateState), param(r, golibvirt.DomainStatsStateReason)}
		b.press(ctx, r.Dom, states[i].state)
		if golibvirt.DomainState(states[i].state) == golibvirt.DomainRunning {
			up, upEntries = append(up, r.Dom), append(upEntries, entries[i])
		}
	}
	addrs, err := b.addresses(ctx, up, upEntries)
	if err != nil {
		return nil, err
	}
	out := []backend.Machine{}
	for i, r := range all {
		if entries[i] != nil && entries[i].meta != nil {
			out = append(out, b.machine(r.Dom, entries[i], states[i].state, states[i].reason, addrs[r.Dom.UUID]))
		}
	}
	if len(out) > 0 {
		if err := b.markUsed(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// param reads one number of a domain's statistics; -1 if it is not there.
func param(r golibvirt.DomainStatsRecord, name string) int32 {
	for _, p := range r.Params {
		if v, ok := p.Value.I.(int32); ok && p.Field == name {
			return v
		}
	}
	return -1
}

// A shutdown request is lost on a guest that has not booted far enough to hear it. It is made again at
// most each pressEvery, by the Get or List that still finds the machine running, for pressFor.
const (
	pressEvery = 2 * time.Second
	pressFor   = 5 * time.Minute
)

// press repeats a shutdown request that had no effect yet.
func (b *Backend) press(ctx context.Context, dom golibvirt.Domain, state int32) {
	v, ok := b.stops.Load(dom.UUID)
	if !ok {
		return
	}
	s := v.(*stopping)
	s.mu.Lock()
	now := time.Now()
	over := s.id != dom.ID || golibvirt.DomainState(state) == golibvirt.DomainShutoff || now.After(s.till)
	due := !over && golibvirt.DomainState(state) == golibvirt.DomainRunning && now.Sub(s.last) >= pressEvery
	if due {
		s.last = now
	}
	s.mu.Unlock()
	if over {
		b.stops.CompareAndDelete(dom.UUID, v)
	}
	if due {
		if err := b.powerButton(ctx, dom); err != nil && b.env.Log != nil {
			b.env.Log.Debug("libvirt: repeating a shutdown request", "domain", dom.Name, "error", err)
		}
	}
}

func (b *Backend) powerButton(ctx context.Context, dom golibvirt.Domain) error {
	return b.do(ctx, "asking "+dom.Name+" to shut down", func(l *golibvirt.Libvirt) error {
		return l.DomainShutdownFlags(dom, golibvirt.DomainShutdownAcpiPowerBtn)
	})
}
