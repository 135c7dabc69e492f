package libvirt

import (
	"context"

	"berth/backend"
	"berth/backend/api"
)

// Validate implements backend.Validator.
func (b *Backend) Validate(ctx context.Context, spec backend.Spec) error {
	z, h, err := b.fits(ctx, spec)
	if err != nil {
		return err
	}
	if _, err := b.network(ctx, spec.Subnet, false); err != nil {
		return err
	}
	if spec.DiskBytes == 0 {
		return nil // the usual one
	}
	p, err := b.openPool(ctx, false)
	none := isGone(err) // it is made
	if err != nil && !none {
		return err
	}
	from, err := b.foreseen(ctx, h, p, none, spec)
	if err != nil {
		return err
	}
	disk, err := diskSize(spec, z, from)
	if err != nil || none {
		return err
	}
	return b.roomFor(ctx, p, disk)
}

// foreseen is what is known of what a machine will be made from; none says that there is no pool yet.
func (b *Backend) foreseen(ctx context.Context, h hostFacts, p pool, none bool, spec backend.Spec) (made, error) {
	if spec.From != nil {
		_, e, err := b.lookup(ctx, *spec.From)
		if err != nil {
			return made{}, err
		}
		return made{clone: true, virtual: e.meta.Disk}, nil
	}
	e, err := b.catalogueImage(h, spec)
	if err != nil {
		return made{}, err
	}
	m := made{name: spec.Image}
	if e != nil {
		m.virtual = e.MinDisk
		if !none {
			mark, err := b.markOf(*e)
			if err != nil {
				return m, err
			}
			s, ok, err := b.sidecar(ctx, p, mark)
			if ok || err != nil {
				m.virtual = max(m.virtual, s.Virtual)
				return m, err
			}
		}
		// Before an image is fetched and copied into the pool its header says how large a disk must be.
		virtual, err := b.cache().Virtual(ctx, *e)
		if err != nil && b.env.Log != nil {
			b.env.Log.Warn("libvirt: how large the disk of an image is can't be seen before it is here", "image", e.Name,
				"error", err)
		}
		m.virtual = max(m.virtual, virtual)
		return m, ctx.Err()
	}
	if none {
		return m, nil // Prepare looks
	}
	vols, err := b.volumes(ctx, p)
	if err != nil {
		return m, err
	}
	s, ok, err := b.built(ctx, p, vols, spec.Image)
	if ok && err == nil {
		m.virtual = s.Virtual
	}
	return m, err
}

// fits refuses what no libvirt can do, and a size that is larger than the host.
func (b *Backend) fits(ctx context.Context, spec backend.Spec) (z size, h hostFacts, err error) {
	if err = possible(spec); err == nil {
		z, err = b.sizeOf(spec)
	}
	if err == nil {
		h, err = b.hostFacts(ctx)
	}
	if err == nil && (z.VCPUs > h.vcpus || z.memory > h.memory) {
		err = api.Errorf(api.CodeCapacity, "the host of %s is smaller than the size %s", b.cfg.uri.text, z.Name).
			WithHint("berth sizes --backend libvirt lists those that fit")
	}
	return z, h, err
}

// Prepare implements backend.Preparer: pool and network are made, the image is put into the pool, and what
// Create could not do is refused.
func (b *Backend) Prepare(ctx context.Context, spec backend.Spec, say func(backend.Progress)) error {
	z, h, err := b.fits(ctx, spec)
	if err != nil {
		return err
	}
	if z.GPUs > 0 {
		if _, _, err := b.allot(ctx, z); err != nil {
			return err
		}
	}
	if _, err := b.network(ctx, spec.Subnet, true); err != nil {
		return err
	}
	if err := b.markUsed(); err != nil {
		return err
	}
	p, err := b.openPool(ctx, true)
	if err != nil {
		return err
	}
	// What others have written into the file system shows with a refresh only.
	if err := b.renew(ctx, p); err != nil {
		return err
	}
	from, err := b.source(ctx, p, spec, say)
	if err != nil {
		return err
	}
	if _, err := b.virtType(h, h.libvirtArch(from.arch)); err != nil {
		return err
	}
	disk, err := diskSize(spec, z, from)
	if err != nil {
		return err
	}
	return b.space(ctx, p, from.copied, disk)
}

// possible refuses what no libvirt can do.
func possible(spec backend.Spec) error {
	if spec.PublicIP {
		return api.Errorf(api.CodeUnsupported, "creating %s: %s", spec.Name, capabilities().Why["public_ip"])
	}
	if spec.Access != nil && len(spec.Access.AuthorizedKeys) == 0 {
		return api.Errorf(api.CodeUsage, "creating %s: no key is given, so nobody could sign in", spec.Name)
	}
	return nil
}
