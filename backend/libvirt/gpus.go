package libvirt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"
	"golang.org/x/sync/errgroup"
	"libvirt.org/go/libvirtxml"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/libvirt/hostdev"
)

// hostGPUs is which GPUs the host has and who has them now.
type hostGPUs struct {
	host  hostdev.Host
	taken hostdev.Taken
	named []string
}

// hostGPUs asks the host for its devices and its running machines for theirs.
func (b *Backend) hostGPUs(ctx context.Context) (hostGPUs, error) {
	g := hostGPUs{taken: hostdev.Taken{}, named: strings.FieldsFunc(b.cfg.gpus, func(r rune) bool {
		return r == ',' || r == ' '
	})}
	const what = "looking for GPUs of the host"
	devs, err := call(ctx, b, what, func(l *golibvirt.Libvirt) ([]golibvirt.NodeDevice, error) {
		d, _, err := l.ConnectListAllNodeDevices(1,
			uint32(golibvirt.ConnectListNodeDevicesCapPciDev|golibvirt.ConnectListNodeDevicesCapMdev))
		return d, err
	})
	if errors.Is(err, backend.ErrUnsupported) {
		return g, nil // a libvirt without a list of devices has none to give away
	}
	if err != nil {
		return g, err
	}
	texts := make([]string, len(devs))
	eg, ectx := errgroup.WithContext(ctx)
	eg.SetLimit(readers)
	for i, d := range devs {
		eg.Go(func() error {
			text, err := call(ectx, b, what, func(l *golibvirt.Libvirt) (string, error) {
				return l.NodeDeviceGetXMLDesc(d.Name, 0)
			})
			if isGone(err) {
				return nil
			}
			texts[i] = text
			return err
		})
	}
	if err := eg.Wait(); err != nil {
		return g, err
	}
	if g.host, err = hostdev.Parse(slices.DeleteFunc(texts, func(s string) bool { return s == "" })); err != nil {
		return g, api.Errorf(api.CodeFailed, "%s: %w", what, err)
	}
	if len(g.host.GPUs) == 0 {
		return g, nil
	}
	g.taken, err = b.taken(ctx)
	return g, err
}

// taken asks every running domain, also those of others, which devices it has.
func (b *Backend) taken(ctx context.Context) (hostdev.Taken, error) {
	const what = "asking who has the host's GPUs"
	doms, err := call(ctx, b, what, func(l *golibvirt.Libvirt) ([]golibvirt.Domain, error) {
		d, _, err := l.ConnectListAllDomains(1, golibvirt.ConnectListDomainsActive)
		return d, err
	})
	if err != nil {
		return nil, err
	}
	out := hostdev.Taken{}
	for _, d := range doms {
		text, err := call(ctx, b, what, func(l *golibvirt.Libvirt) (string, error) { return l.DomainGetXMLDesc(d, 0) })
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ids, holder, err := devicesOf(text)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			out[id] = holder
		}
	}
	return out, nil
}

// devicesOf reads the host's devices that a domain has, and what people call the domain.
func devicesOf(text string) (ids []string, holder string, err error) {
	d, err := parseDomain(text)
	if err != nil {
		return nil, "", err
	}
	holder = "the domain " + d.Name
	if m := d.own(); m != nil {
		holder = m.Name
	}
	if len(d.Devices.Hostdevs) == 0 {
		return nil, holder, nil
	}
	var x libvirtxml.Domain
	if err := x.Unmarshal(text); err != nil {
		return nil, "", fmt.Errorf("reading the devices of the domain %s: %w", d.Name, err)
	}
	return hostdev.DomainIDs(x.Devices.Hostdevs), holder, nil
}

// fits reports whether the host has GPUs for a size, free or not.
func (g hostGPUs) fits(z size) bool { return len(g.all(z)) >= z.GPUs }

// all are the GPUs of a size's kind that could be given to a machine, if nobody had them.
func (g hostGPUs) all(z size) []hostdev.GPU { return g.host.Free(z.GPU, nil, g.named) }

// offer is what a machine of that size would get.
func (g hostGPUs) offer(z size) []api.GPU {
	pick, err := g.host.Allot(z.GPUs, z.GPU, g.taken, g.named)
	if err != nil {
		if pick, err = g.host.Allot(z.GPUs, z.GPU, nil, g.named); err != nil {
			pick = g.all(z)[:z.GPUs]
		}
	}
	out := []api.GPU{}
	for _, p := range pick {
		out = append(out, api.GPU{Name: p.Name, MemoryBytes: p.MemoryBytes})
	}
	return out
}

// who says how many GPUs are free and who has the others.
func (g hostGPUs) who(z size) string {
	all := g.all(z)
	var free int
	var holders []string
	for _, d := range all {
		s := g.host.Status(d, g.taken, g.named)
		if s.Free {
			free++
		} else if s.Holder != "" && !slices.Contains(holders, s.Holder) {
			holders = append(holders, s.Holder)
		}
	}
	text := fmt.Sprintf("%d of %d free", free, len(all))
	if len(holders) > 0 {
		slices.Sort(holders)
		text += "; held by " + strings.Join(holders, ", ")
	}
	return text
}

// allot picks GPUs for a machine of that size.
func (b *Backend) allot(ctx context.Context, z size) ([]gpu, []libvirtxml.DomainHostdev, error) {
	g, err := b.hostGPUs(ctx)
	if err != nil {
		return nil, nil, err
	}
	gpus, devs, err := g.allot(z.GPUs, z.GPU)
	if errors.Is(err, backend.ErrNotFound) { // which would say that the machine is not there
		e := api.AsError(err)
		err = api.Errorf(api.CodeCapacity, "%s", e.Message).WithHint("%s", e.Hint)
	}
	return gpus, devs, err
}

func (g hostGPUs) allot(n int, kind string) ([]gpu, []libvirtxml.DomainHostdev, error) {
	pick, err := g.host.Allot(n, kind, g.taken, g.named)
	if err != nil {
		return nil, nil, err
	}
	devs, err := hostdev.DomainHostdevs(pick)
	if err != nil {
		return nil, nil, err
	}
	var out []gpu
	for _, p := range pick {
		out = append(out, gpu{p.ID, p.Name, p.MemoryBytes})
	}
	return out, devs, nil
}

// freshGPUs sees to it that the GPUs of a machine that is about to start are free; for those that are not
// it takes others of the same model.
func (b *Backend) freshGPUs(ctx context.Context, dom golibvirt.Domain, e *entry) error {
	g, err := b.hostGPUs(ctx)
	if err != nil {
		return err
	}
	gpus, devs, err := g.again(e.meta)
	if err != nil || gpus == nil {
		return err
	}
	return b.redefine(ctx, dom, func(d *libvirtxml.Domain, m *metadata) error {
		m.GPUs, d.Devices.Hostdevs = gpus, devs
		return nil
	})
}

// again picks GPUs for a machine that had some before; nil means that it can keep its own.
func (g hostGPUs) again(m *metadata) ([]gpu, []libvirtxml.DomainHostdev, error) {
	var held []string
	for _, had := range m.GPUs {
		i := slices.IndexFunc(g.host.GPUs, func(d hostdev.GPU) bool { return d.ID == had.Address })
		if i < 0 {
			held = append(held, fmt.Sprintf("%s (%s) is no longer in the host", had.Name, had.Address))
			continue
		}
		if s := g.host.Status(g.host.GPUs[i], g.taken, g.named); !s.Free {
			held = append(held, fmt.Sprintf("%s (%s): %s", had.Name, had.Address, s.Why))
		}
	}
	if held == nil {
		return nil, nil, nil
	}
	if gpus, devs, err := g.allot(len(m.GPUs), m.GPUs[0].Name); err == nil {
		return gpus, devs, nil
	}
	return nil, nil, api.Errorf(api.CodeConflict, "starting %s: no GPU for it is free: %s", m.Name,
		strings.Join(held, "; ")).
		WithHint("stop the machine that has it, or wait: a stop gives the GPU back")
}

func (b *Backend) checkGPUs(ctx context.Context) []api.Check {
	g, err := b.hostGPUs(ctx)
	if err != nil {
		return []api.Check{failed("GPUs", err)}
	}
	return g.host.Check(g.taken, g.named)
}
