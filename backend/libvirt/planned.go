package libvirt

import (
	"context"
	"encoding/json"
	"fmt"

	"berth/backend"
	"berth/backend/machine/image"
)

// planned is what a create was planned with: sizes.toml and images.toml may be edited between its steps.
type planned struct {
	VCPUs  int          `json:"vcpus"`
	Memory int64        `json:"memory"`
	Disk   int64        `json:"disk"`
	GPUs   int          `json:"gpus,omitempty"`
	GPU    string       `json:"gpu,omitempty"`
	Image  *image.Entry `json:"image,omitempty"` // nil: one that was built, or a clone's
}

var _ backend.Planner = (*Backend)(nil)

// Plan implements backend.Planner.
func (b *Backend) Plan(ctx context.Context, spec backend.Spec) (json.RawMessage, error) {
	spec.Plan = nil
	z, err := b.sizeOf(spec)
	if err != nil {
		return nil, err
	}
	p := planned{VCPUs: z.VCPUs, Memory: z.memory, Disk: z.disk, GPUs: z.GPUs, GPU: z.GPU}
	if spec.From == nil {
		h, err := b.hostFacts(ctx)
		if err != nil {
			return nil, err
		}
		if p.Image, err = b.catalogueImage(h, spec); err != nil {
			return nil, err
		}
	}
	return json.Marshal(p)
}

// planOf is what a spec was planned with; nil where an older build began it: what it names is looked up then.
func planOf(spec backend.Spec) (*planned, error) {
	if len(spec.Plan) == 0 {
		return nil, nil
	}
	var p planned
	if err := json.Unmarshal(spec.Plan, &p); err != nil {
		return nil, fmt.Errorf("reading what %s was planned with: %w", spec.Name, err)
	}
	return &p, nil
}

// sizeOf is the size that a spec asks for.
func (b *Backend) sizeOf(spec backend.Spec) (size, error) {
	p, err := planOf(spec)
	if p == nil {
		if err != nil {
			return size{}, err
		}
		return b.size(spec.Size)
	}
	return size{Name: spec.Size, VCPUs: p.VCPUs, GPUs: p.GPUs, GPU: p.GPU, memory: p.Memory, disk: p.Disk}, nil
}

// catalogueImage is the image of the catalogue that a spec asks for; nil: there is none, so it is one that was built.
func (b *Backend) catalogueImage(h hostFacts, spec backend.Spec) (*image.Entry, error) {
	p, err := planOf(spec)
	if err != nil {
		return nil, err
	}
	if p != nil {
		return p.Image, nil
	}
	entries, err := b.offeredImages(h)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Name == spec.Image {
			return &e, nil
		}
	}
	return nil, nil
}
