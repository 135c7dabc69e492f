package libvirt

import (
	"context"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"berth/backend/api"
)

type hostGPUs struct{}

func (b *Backend) hostGPUs(ctx context.Context) (hostGPUs, error) { return hostGPUs{}, nil }
func (hostGPUs) fits(z size) bool                                 { return false }
func (hostGPUs) offer(z size) []api.GPU                           { return nil }
func (hostGPUs) who(z size) string                                { return "" }

func (b *Backend) allot(ctx context.Context, z size, e *entry) ([]gpu, []libvirtxml.DomainHostdev, error) {
	return nil, nil, nil
}
func (b *Backend) freshGPUs(ctx context.Context, dom golibvirt.Domain, e *entry) error { return nil }
func (b *Backend) heldError(ctx context.Context, e *entry, err error) error            { return err }
