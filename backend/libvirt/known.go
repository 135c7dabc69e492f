package libvirt

import (
	"context"
	"sync"

	golibvirt "github.com/digitalocean/go-libvirt"
	"golang.org/x/sync/errgroup"
)

// entry is what was read of a domain.
type entry struct {
	run  int32     // the domain's id while it was read: another run, another reading
	meta *metadata // nil: not Berth's
	dom  *domain
	addr string // found by the guest agent or ARP; leases are asked for each time
}

// known keeps entries until their domain changes.
type known struct {
	mu  sync.Mutex
	m   map[golibvirt.UUID]*entry
	gen int // grows with each reset: a reading that began before is not kept
}

func (k *known) get(d golibvirt.Domain) (*entry, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.m[d.UUID]
	if e == nil || e.run != d.ID || e.dom.Name != d.Name {
		return nil, k.gen
	}
	return e, k.gen
}

func (k *known) put(u golibvirt.UUID, e *entry, gen int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gen != gen {
		return
	}
	if k.m == nil {
		k.m = map[golibvirt.UUID]*entry{}
	}
	k.m[u] = e
}

func (k *known) forget(u golibvirt.UUID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.m, u)
	k.gen++
}

func (k *known) reset() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.m = nil
	k.gen++
}

// keep forgets all but these.
func (k *known) keep(is map[golibvirt.UUID]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for u := range k.m {
		if !is[u] {
			delete(k.m, u)
		}
	}
}

// setAddr notes an address that was found.
func (k *known) setAddr(u golibvirt.UUID, e *entry, addr string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m[u] == e {
		c := *e
		c.addr = addr
		k.m[u] = &c
	}
}

// ours are the known machines of Berth.
func (k *known) ours() []*entry {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []*entry
	for _, e := range k.m {
		if e.meta != nil {
			out = append(out, e)
		}
	}
	return out
}

// entry reads a domain, unless it is known.
func (b *Backend) entry(ctx context.Context, dom golibvirt.Domain) (*entry, error) {
	e, gen := b.known.get(dom)
	if e != nil {
		return e, nil
	}
	text, err := call(ctx, b, "reading the domain "+dom.Name, func(l *golibvirt.Libvirt) (string, error) {
		return l.DomainGetXMLDesc(dom, 0)
	})
	if err != nil {
		return nil, err
	}
	d, err := parseDomain(text)
	if err != nil {
		return nil, err
	}
	e = &entry{run: dom.ID, meta: d.own(), dom: d}
	b.known.put(dom.UUID, e, gen)
	return e, nil
}

// readers is how many domains are read at once: libvirtd works on five calls of a connection.
const readers = 5

// entries reads domains; those that are gone meanwhile are left out.
func (b *Backend) entries(ctx context.Context, doms []golibvirt.Domain) ([]*entry, error) {
	out := make([]*entry, len(doms))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i, d := range doms {
		if e, _ := b.known.get(d); e != nil {
			out[i] = e
			continue
		}
		g.Go(func() error {
			e, err := b.entry(gctx, d)
			if isGone(err) {
				return nil
			}
			out[i] = e
			return err
		})
	}
	return out, g.Wait()
}

// watch forgets domains that others change, and tells of what happens to them, for as long as the connection lasts.
func (b *Backend) watch(c *conn) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-c.line.gone
		cancel()
		b.changed("") // libvirtd has ended, say
	}()
	// Where events are not supported there is still the domain's id: each start and stop is a new reading.
	go func() {
		events, err := c.l.SubscribeEvents(ctx, golibvirt.DomainEventIDLifecycle, nil)
		if err != nil {
			return
		}
		for ev := range events {
			m, ok := ev.(*golibvirt.DomainEventCallbackLifecycleMsg)
			if !ok {
				continue
			}
			switch golibvirt.DomainEventType(m.Msg.Event) {
			case golibvirt.DomainEventDefined, golibvirt.DomainEventUndefined:
				b.known.forget(m.Msg.Dom.UUID)
			}
			b.changed(uuidText(m.Msg.Dom.UUID))
		}
	}()
	go func() {
		events, err := c.l.SubscribeEvents(ctx, golibvirt.DomainEventIDMetadataChange, nil)
		if err != nil {
			return
		}
		for ev := range events {
			if m, ok := ev.(*golibvirt.DomainEventCallbackMetadataChangeMsg); ok {
				b.known.forget(m.Dom.UUID)
				b.changed(uuidText(m.Dom.UUID))
			}
		}
	}()
}

// changed tells the workspace that a machine was changed; "": any may have been.
func (b *Backend) changed(id string) {
	if b.env.Changed != nil {
		b.env.Changed(id)
	}
}
