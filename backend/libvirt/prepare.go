package libvirt

import (
	"context"

	"berth/backend"
	"berth/backend/api"
)

// Prepare implements backend.Preparer: pool and network are made, the image is put into the pool, and what
// Create could not do is refused.
func (b *Backend) Prepare(ctx context.Context, spec backend.Spec, say func(backend.Progress)) error {
	if err := possible(spec); err != nil {
		return err
	}
	z, err := b.size(spec.Size)
	if err != nil {
		return err
	}
	h, err := b.hostFacts(ctx)
	if err != nil {
		return err
	}
	if z.VCPUs > h.vcpus || z.memory > h.memory {
		return api.Errorf(api.CodeCapacity, "the host of %s is smaller than the size %s", b.cfg.uri.text, z.Name).WithHint("berth sizes --backend libvirt lists those that fit")
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
	if err := b.refresh(ctx, p); err != nil && !says(err, "asynchronous jobs") {
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
