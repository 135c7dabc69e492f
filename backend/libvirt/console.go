package libvirt

import (
	"context"

	golibvirt "github.com/digitalocean/go-libvirt"

	"berth/backend"
	"berth/backend/api"
)

// consoleTail is how much of the console is shown, in bytes.
const consoleTail = 64 << 10

// Console implements backend.Backend: the end of the log that qemu writes of the serial console since the
// last start.
func (b *Backend) Console(ctx context.Context, ref backend.Ref) ([]byte, error) {
	_, e, err := b.lookup(ctx, ref)
	if err != nil {
		return nil, err
	}
	p, err := b.poolOf(ctx, e.meta)
	if err != nil {
		return nil, err
	}
	name := volName(e.meta.Home, e.meta.Token, volLog)
	vol, ok, err := b.volume(ctx, p, name)
	if err == nil && !ok {
		// The file may be there all the same, made again by qemu.
		if err = b.refresh(ctx, p); err == nil {
			vol, ok, err = b.volume(ctx, p, name)
		}
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, api.Errorf(api.CodeFailed, "the console log of %s, %s, is not in the pool %s", e.meta.Name, name,
			p.pool.Name)
	}
	i, err := b.volumeInfo(ctx, vol)
	if err != nil {
		return nil, err
	}
	from := max(0, i.capacity-consoleTail)
	if i.capacity == 0 {
		return nil, nil
	}
	return b.download(ctx, vol, from, i.capacity-from)
}

// Seal implements backend.Sealer: the seed is written again without the host key. Cloud-init does not run
// again: the instance id stays.
func (b *Backend) Seal(ctx context.Context, ref backend.Ref) error {
	_, e, unlock, err := b.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer unlock()
	p, err := b.poolOf(ctx, e.meta)
	if err != nil {
		return err
	}
	return b.writeSeed(ctx, p, e.meta, nil, nil)
}

// active reports whether a domain runs, in whatever state.
func (b *Backend) active(ctx context.Context, dom golibvirt.Domain) (bool, error) {
	s, err := b.state(ctx, dom)
	return golibvirt.DomainState(s.state) != golibvirt.DomainShutoff, err
}
