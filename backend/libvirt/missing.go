package libvirt

import (
	"context"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"

	"berth/backend/api"
)

// file is one that a machine needs to start.
type file struct {
	what, path string
	means      string // what it means that it is gone, and what to do
}

// files lists what a machine needs in its pool.
func (e *entry) files(p pool) []file {
	m := e.meta
	own := func(kind string) string { return p.file(volName(m.Home, m.Token, kind)) }
	out := []file{
		{"disk", own(volDisk), "what was on it is lost, unless the file is put back there from a copy; " +
			"berth rm " + m.Name + " forgets the machine"},
		{"seed", own(volSeed), "its disk is whole: copy the machine (berth clone), or put the file back from a copy"},
	}
	const image = "its own disk is whole, but lies on it: put this very file back there"
	for _, f := range []file{{"image", m.Base, image}, {"kernel", m.Kernel, image}, {"initrd", m.Initrd, image}} {
		if f.path != "" {
			out = append(out, f)
		}
	}
	return out
}

// missing are the files of a machine that are not in its pool, which was refreshed. Files elsewhere aren't looked for.
func (b *Backend) missing(ctx context.Context, e *entry) ([]file, error) {
	p, err := b.poolOf(ctx, e.meta)
	if err != nil {
		return nil, err
	}
	if err := b.renew(ctx, p); err != nil {
		return nil, err
	}
	vols, err := b.volumes(ctx, p)
	if err != nil {
		return nil, err
	}
	return absentFrom(vols, p, e), nil
}

func absentFrom(vols []golibvirt.StorageVol, p pool, e *entry) (out []file) {
	is := map[string]bool{}
	for _, v := range vols {
		is[p.file(v.Name)] = true
	}
	for _, f := range e.files(p) {
		if strings.HasPrefix(f.path, p.path+"/") && !is[f.path] {
			out = append(out, f)
		}
	}
	return out
}

// missingError says which file a machine lacks that libvirt could not start; nil: it lacks none.
func (b *Backend) missingError(ctx context.Context, e *entry) error {
	gone, err := b.missing(ctx, e)
	if err != nil || len(gone) == 0 {
		return nil // libvirt's own words are said
	}
	f := gone[0]
	return api.Errorf(api.CodeFailed, "%s can't start: its %s %s was deleted outside Berth", e.meta.Name, f.what, f.path).
		WithHint("%s", f.means)
}

// checkMachines says which machines of this home lack a file.
func (b *Backend) checkMachines(ctx context.Context) (out []api.Check) {
	p, err := b.openPool(ctx, false)
	if err != nil {
		return nil // with the pool, which was refreshed for its own check
	}
	vols, err := b.volumes(ctx, p)
	if err != nil {
		return []api.Check{failed("machines", err)}
	}
	doms, err := call(ctx, b, "listing the domains", func(l *golibvirt.Libvirt) ([]golibvirt.Domain, error) {
		d, _, err := l.ConnectListAllDomains(1, 0)
		return d, err
	})
	if err != nil {
		return []api.Check{failed("machines", err)}
	}
	entries, err := b.entries(ctx, doms)
	if err != nil {
		return []api.Check{failed("machines", err)}
	}
	for _, e := range entries {
		if e == nil || e.meta == nil || e.meta.Home != b.env.HomeID || e.meta.Pool != "" && e.meta.Pool != b.cfg.pool {
			continue
		}
		for _, f := range absentFrom(vols, p, e) {
			c := check("machine "+e.meta.Name, "fail", "its %s %s was deleted outside Berth: it can't start again", f.what,
				f.path)
			c.Fix = f.means
			if e.run > 0 && f.what == "disk" {
				c.Message = "its disk " + f.path + " was deleted outside Berth: all on it is lost when the machine stops"
				c.Fix = "copy what is needed from it now, while it runs"
			}
			out = append(out, c)
		}
	}
	return out
}
