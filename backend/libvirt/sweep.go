package libvirt

import (
	"context"
	"fmt"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/dustin/go-humanize"

	"berth/backend"
	"berth/backend/api"
)

// Leftovers implements backend.Sweeper: volumes whose machine is gone.
func (b *Backend) Leftovers(ctx context.Context, known func(token string) bool) ([]backend.Leftover, error) {
	p, err := b.openPool(ctx, false)
	if isGone(err) || err != nil && b.absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// A file that a killed qemu-img or a daemon has made is not in the pool's list before.
	if err := b.renew(ctx, p); err != nil {
		return nil, err
	}
	vols, err := b.volumes(ctx, p)
	if err != nil {
		return nil, err
	}
	doms, err := call(ctx, b, "listing the domains", func(l *golibvirt.Libvirt) ([]golibvirt.Domain, error) {
		d, _, err := l.ConnectListAllDomains(1, 0)
		return d, err
	})
	if err != nil {
		return nil, err
	}
	is := map[golibvirt.UUID]bool{}
	for _, d := range doms {
		is[d.UUID] = true
	}
	var out []backend.Leftover
	for _, v := range vols {
		home, token, kind, ok := parseVolName(v.Name)
		if !ok || is[uuidOf(token)] || known(token) {
			continue
		}
		i, err := b.volumeInfo(ctx, v)
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		what := map[string]string{volDisk: "disk", volSeed: "seed", volLog: "console log"}[kind]
		out = append(out, backend.Leftover{ID: v.Name, Home: home, Bytes: i.allocation,
			What: fmt.Sprintf("%s of %s, %s in the pool %s", what, humanize.IBytes(uint64(i.allocation)), v.Name, b.cfg.pool)})
	}
	return out, nil
}

// RemoveLeftover implements backend.Sweeper. A volume that a domain uses by now is left alone.
func (b *Backend) RemoveLeftover(ctx context.Context, id string) error {
	_, token, _, ok := parseVolName(id)
	if !ok {
		return api.Errorf(api.CodeUsage, "%q is no volume of a machine of Berth's", id)
	}
	u := uuidOf(token)
	unlock, err := b.locks.lock(ctx, "machine "+uuidText(u))
	if err != nil {
		return err
	}
	defer unlock()
	_, err = call(ctx, b, "looking for the machine of "+id, func(l *golibvirt.Libvirt) (golibvirt.Domain, error) {
		return l.DomainLookupByUUID(u)
	})
	if err == nil {
		return api.Errorf(api.CodeRefused, "%s belongs to a machine", id)
	}
	if !isGone(err) {
		return err
	}
	p, err := b.openPool(ctx, false)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return b.removeVolume(ctx, p, id)
}
