package libvirt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"berth/backend"
	"berth/backend/api"
)

// BuildImage implements backend.Imager. Machines based on an earlier image of that name keep theirs.
func (b *Backend) BuildImage(ctx context.Context, ref backend.Ref, im api.Image, say func(backend.Progress)) error {
	if !plainName().MatchString(im.Name) || len(im.Name) > 64 {
		return api.Errorf(api.CodeUsage, "%q can't name an image: letters, digits, - _ . are wanted", im.Name)
	}
	dom, e, unlock, err := b.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer unlock()
	on, err := b.active(ctx, dom)
	if err != nil {
		return err
	}
	if on {
		return api.Errorf(api.CodeRefused, "%s is not stopped: an image of a disk in use would be broken", e.meta.Name).
			WithHint("berth stop %s, then try again", e.meta.Name)
	}
	free, err := b.locks.lock(ctx, "image "+im.Name)
	if err != nil {
		return err
	}
	defer free()
	p, err := b.openPool(ctx, true)
	if err != nil {
		return err
	}
	if err := b.imageNameFree(ctx, p, im.Name, e.meta.Token); err != nil {
		return err
	}
	vol, i, err := b.diskOf(ctx, e)
	if err != nil {
		return err
	}
	bytes := i.allocation
	if s, ok := b.baseOf(ctx, p, e.meta.Base); ok {
		bytes += s.Bytes
	}
	if err := b.renew(ctx, p); err != nil {
		return err
	}
	if err := b.space(ctx, p, bytes, 0); err != nil {
		return err
	}
	stamp := fmt.Sprintf("%016x", time.Now().UnixNano())
	name := madePrefix + im.Name + "." + stamp + ".qcow2"
	made, err := b.flatten(ctx, p, vol, volSpec{name: name, bytes: i.capacity, format: "qcow2"}, func(done int64) {
		if say != nil {
			say(backend.Progress{What: "copying the disk of " + e.meta.Name, Done: min(done, bytes), Total: bytes})
		}
	})
	if err != nil {
		return errors.Join(err, b.removeVolume(context.WithoutCancel(ctx), p, name))
	}
	h, err := b.hostFacts(ctx)
	if err != nil {
		return err
	}
	after, err := b.volumeInfo(ctx, made)
	if err != nil {
		return err
	}
	mark := madePrefix + im.Name + "." + stamp + sidecarEnd
	if err := b.writeSidecar(ctx, p, mark, sidecar{
		Volume: name, Format: "qcow2", Bytes: after.allocation, Virtual: i.capacity, Name: im.Name,
		Description: im.Description, User: or(im.User, e.meta.User),
		Arch: or(goArch[e.dom.OS.Type.Arch], goArch[h.arch]), Source: or(im.Source, e.meta.Name), Token: e.meta.Token,
		Profiles: im.Profiles, BuiltAt: time.Now().UTC().Truncate(time.Second),
		Kernel: e.meta.Kernel, Initrd: e.meta.Initrd, Cmdline: e.meta.Append,
	}); err != nil {
		return err
	}
	return b.dropOlder(ctx, p, im.Name, stamp)
}

// imageNameFree refuses a name that belongs to another image.
func (b *Backend) imageNameFree(ctx context.Context, p pool, name, token string) error {
	h, err := b.hostFacts(ctx)
	if err != nil {
		return err
	}
	entries, err := b.catalogueImages(h)
	if err != nil {
		return err
	}
	for _, c := range entries {
		if c.Name == name {
			return api.Errorf(api.CodeConflict, "there is an image %s in the catalogue", name).WithHint("choose another name")
		}
	}
	vols, err := b.volumes(ctx, p)
	if err != nil {
		return err
	}
	s, ok, err := b.built(ctx, p, vols, name)
	if err != nil || !ok || s.Token == token {
		return err
	}
	return api.Errorf(api.CodeConflict, "the image %s was made from another machine, %s", name, s.Source).
		WithHint("choose another name, or remove it: berth image rm %s", name)
}

// baseOf is the sidecar of an image's volume by its path.
func (b *Backend) baseOf(ctx context.Context, p pool, path string) (sidecar, bool) {
	name, ok := strings.CutPrefix(path, p.path+"/")
	if !ok {
		return sidecar{}, false
	}
	mark := name + sidecarEnd
	if strings.HasPrefix(name, madePrefix) {
		mark = strings.TrimSuffix(name, ".qcow2") + sidecarEnd
	}
	s, ok, err := b.sidecar(ctx, p, mark)
	return s, ok && err == nil
}

// flatten copies a volume into one that depends on no other, saying how far it is.
func (b *Backend) flatten(ctx context.Context, p pool, from golibvirt.StorageVol, v volSpec,
	say func(done int64)) (golibvirt.StorageVol, error) {
	text, err := v.xml()
	if err != nil {
		return golibvirt.StorageVol{}, err
	}
	type answer struct {
		v   golibvirt.StorageVol
		err error
	}
	done := make(chan answer, 1)
	go func() {
		vol, err := apart(ctx, b, "copying "+from.Name, func(l *golibvirt.Libvirt) (golibvirt.StorageVol, error) {
			return l.StorageVolCreateXMLFrom(p.pool, text, from, 0)
		})
		done <- answer{vol, err}
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case a := <-done:
			return a.v, a.err
		case <-tick.C:
			if vol, ok, err := b.volume(ctx, p, v.name); err == nil && ok {
				if i, err := b.volumeInfo(ctx, vol); err == nil {
					say(i.allocation)
				}
			}
		}
	}
}

// dropOlder removes earlier images of that name, and those that were cut off, as far as nothing is based
// on them.
func (b *Backend) dropOlder(ctx context.Context, p pool, name, keep string) error {
	vols, err := b.volumes(ctx, p)
	if err != nil {
		return err
	}
	users, err := b.users(ctx)
	if err != nil {
		return err
	}
	for _, v := range vols {
		rest, ok := strings.CutPrefix(v.Name, madePrefix+name+".")
		stamp, isDisk := strings.CutSuffix(rest, ".qcow2")
		if !ok || !isDisk || strings.Contains(stamp, ".") || stamp >= keep || len(users[p.file(v.Name)]) > 0 {
			continue
		}
		if err := b.removeMarked(ctx, p, v.Name, madePrefix+name+"."+stamp+sidecarEnd); err != nil {
			return err
		}
	}
	return nil
}

// users names the machines that need a file of the pool: by path.
func (b *Backend) users(ctx context.Context) (map[string][]string, error) {
	doms, err := call(ctx, b, "listing the domains", func(l *golibvirt.Libvirt) ([]golibvirt.Domain, error) {
		d, _, err := l.ConnectListAllDomains(1, 0)
		return d, err
	})
	if err != nil {
		return nil, err
	}
	entries, err := b.entries(ctx, doms)
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, e := range entries {
		if e == nil || e.meta == nil {
			continue
		}
		for _, path := range []string{e.meta.Base, e.meta.Kernel, e.meta.Initrd} {
			if path != "" {
				out[path] = append(out[path], e.meta.Name)
			}
		}
	}
	return out, nil
}

// DeleteImage implements backend.Imager. Of an image of the catalogue it removes what Prepare has put into
// the pool.
func (b *Backend) DeleteImage(ctx context.Context, name string) error {
	unlock, err := b.locks.lock(ctx, "image "+name)
	if err != nil {
		return err
	}
	defer unlock()
	p, err := b.openPool(ctx, false)
	if isGone(err) {
		return noImage(name)
	}
	if err != nil {
		return err
	}
	vols, err := b.volumes(ctx, p)
	if err != nil {
		return err
	}
	marks := builtNames(vols)[name]
	if len(marks) == 0 {
		if marks, err = b.catalogueMarks(ctx, vols, name); err != nil {
			return err
		}
	}
	if len(marks) == 0 {
		return noImage(name)
	}
	users, err := b.users(ctx)
	if err != nil {
		return err
	}
	var all []sidecar
	for _, m := range marks {
		s, ok, err := b.sidecar(ctx, p, m)
		if err != nil {
			return err
		}
		if !ok {
			s.Volume = strings.TrimSuffix(m, sidecarEnd) // cut off; removed by name
			if strings.HasPrefix(m, madePrefix) {
				s.Volume += ".qcow2"
			}
		}
		if by := users[p.file(s.Volume)]; len(by) > 0 {
			slices.Sort(by)
			return api.Errorf(api.CodeRefused, "the image %s is the base of %s", name, strings.Join(by, ", ")).
				WithHint("delete these first, or keep the image")
		}
		all = append(all, s)
	}
	for i, s := range all {
		if err := b.removeMarked(ctx, p, s.Volume, marks[i]); err != nil {
			return err
		}
		if err := b.removeVolume(ctx, p, s.Volume+sidecarEnd); err != nil {
			return err
		}
		for _, path := range []string{s.Kernel, s.Initrd} {
			if file, ok := strings.CutPrefix(path, p.path+"/"); ok && strings.HasPrefix(file, bootPrefix) &&
				len(users[path]) == 0 && s.Name == "" {
				if err := b.removeMarked(ctx, p, file, file+sidecarEnd); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func noImage(name string) error {
	return api.Errorf(api.CodeNotFound, "libvirt has no image %q in its pool", name).
		WithHint("berth images --backend libvirt lists them")
}

// catalogueMarks are the sidecars of an image of the catalogue.
func (b *Backend) catalogueMarks(ctx context.Context, vols []golibvirt.StorageVol, name string) ([]string, error) {
	h, err := b.hostFacts(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := b.catalogueImages(h)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if e.Name != name {
			continue
		}
		mark, err := b.markOf(e)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(vols, func(v golibvirt.StorageVol) bool { return v.Name == mark }) {
			out = append(out, mark)
		}
	}
	return out, nil
}

// volumeXML reads a volume's description.
func (b *Backend) volumeXML(ctx context.Context, vol golibvirt.StorageVol) (*libvirtxml.StorageVolume, error) {
	text, err := call(ctx, b, "looking at the volume "+vol.Name, func(l *golibvirt.Libvirt) (string, error) {
		return l.StorageVolGetXMLDesc(vol, 0)
	})
	if err != nil {
		return nil, err
	}
	var x libvirtxml.StorageVolume
	if err := x.Unmarshal(text); err != nil {
		return nil, fmt.Errorf("reading the volume %s: %w", vol.Name, err)
	}
	return &x, nil
}
