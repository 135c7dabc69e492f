package libvirt

import (
	"context"
	"encoding/xml"

	golibvirt "github.com/digitalocean/go-libvirt"

	"berth/backend"
	"berth/backend/api"
)

var _ backend.Tagger = (*Backend)(nil)

// Retag implements backend.Tagger: only Berth's own element of the domain's metadata changes, in the definition and,
// while it runs, in what runs.
func (b *Backend) Retag(ctx context.Context, ref backend.Ref, tags map[string]string) error {
	dom, e, unlock, err := b.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer unlock()
	m := *e.meta
	m.Tags = tagsOf(tags)
	text, err := xml.Marshal(&m)
	if err != nil {
		return api.Errorf(api.CodeFailed, "encoding the metadata of %s: %w", dom.Name, err)
	}
	s, err := b.state(ctx, dom)
	if err != nil {
		return err
	}
	where := golibvirt.DomainAffectConfig
	if golibvirt.DomainState(s.state) != golibvirt.DomainShutoff {
		where |= golibvirt.DomainAffectLive
	}
	err = b.do(ctx, "changing the tags of "+dom.Name, func(l *golibvirt.Libvirt) error {
		return l.DomainSetMetadata(dom, int32(golibvirt.DomainMetadataElement), golibvirt.OptString{string(text)},
			golibvirt.OptString{"berth"}, golibvirt.OptString{namespace}, where)
	})
	b.known.forget(dom.UUID)
	return err
}
