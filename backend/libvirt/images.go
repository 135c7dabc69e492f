package libvirt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/machine/image"
)

func sortDown(s []string) {
	slices.Sort(s)
	slices.Reverse(s)
}

// Images implements backend.Backend: the catalogue for the host's architecture, and what was made from
// machines.
func (b *Backend) Images(ctx context.Context) ([]api.Image, error) {
	h, err := b.hostFacts(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := b.offeredImages(h)
	if err != nil {
		return nil, err
	}
	p, err := b.openPool(ctx, false)
	if err != nil && !isGone(err) {
		return nil, err
	}
	var vols []golibvirt.StorageVol
	if err == nil {
		if vols, err = b.volumes(ctx, p); err != nil {
			return nil, err
		}
	}
	whole := map[string]bool{}
	for _, v := range vols {
		whole[v.Name] = true
	}
	out := []api.Image{}
	for _, e := range entries {
		im := api.Image{Name: e.Name, Backend: Name, Description: e.Description, Arch: e.Arch, User: e.User,
			Default: e.Default, Origin: e.Origin, Source: e.Source(), SHA256: e.SHA256}
		// An image whose file can't be read is listed all the same: Prepare says what is wrong with it.
		if mark, merr := b.markOf(e); merr == nil && whole[mark] {
			s, ok, err := b.sidecar(ctx, p, mark)
			if err != nil {
				return nil, err
			}
			im.Cached, im.SizeBytes = ok, s.Bytes
		}
		out = append(out, im)
	}
	for name := range builtNames(vols) {
		s, ok, err := b.built(ctx, p, vols, name)
		if err != nil {
			return nil, err
		}
		if ok && !slices.ContainsFunc(out, func(i api.Image) bool { return i.Name == name }) {
			at := s.BuiltAt
			out = append(out, api.Image{Name: name, Backend: Name, Description: s.Description, Arch: s.Arch, User: s.User,
				Origin: "built", Source: s.Source,
				SizeBytes: s.Bytes, Cached: true, Profiles: s.Profiles, BuiltAt: &at})
		}
	}
	slices.SortStableFunc(out, func(a, c api.Image) int { return compareBool(a.Origin == "built", c.Origin == "built") })
	return out, nil
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// offeredImages is the catalogue without what the host can't run; exactly one is the default.
func (b *Backend) offeredImages(h hostFacts) ([]image.Entry, error) {
	all, err := b.catalogueImages(h)
	if err != nil {
		return nil, err
	}
	var out []image.Entry
	found := -1
	for _, e := range all {
		arch := h.libvirtArch(e.Arch)
		if arch != h.arch && (b.cfg.accel != "emulate" || len(h.guests[arch]) == 0) {
			continue
		}
		if e.Default = e.Default && found < 0; e.Default {
			found = len(out)
		}
		out = append(out, e)
	}
	if found < 0 && len(out) > 0 {
		out[0].Default = true
	}
	return out, nil
}

// built finds the newest whole image of that name that was made from a machine.
func (b *Backend) built(ctx context.Context, p pool, vols []golibvirt.StorageVol, name string) (sidecar, bool, error) {
	for _, mark := range builtNames(vols)[name] {
		s, ok, err := b.sidecar(ctx, p, mark)
		if err != nil || ok {
			return s, ok, err
		}
	}
	return sidecar{}, false, nil
}

// source finds out what a machine is made from and puts it into the pool, if it is not there.
func (b *Backend) source(ctx context.Context, p pool, spec backend.Spec, say func(backend.Progress)) (made, error) {
	if spec.From != nil {
		return b.cloneSource(ctx, p, *spec.From)
	}
	h, err := b.hostFacts(ctx)
	if err != nil {
		return made{}, err
	}
	e, err := b.catalogueImage(h, spec)
	if err != nil {
		return made{}, err
	}
	if e != nil {
		return b.fromCatalogue(ctx, p, *e, spec.DiskBytes, say)
	}
	vols, err := b.volumes(ctx, p)
	if err != nil {
		return made{}, err
	}
	s, ok, err := b.built(ctx, p, vols, spec.Image)
	if err != nil {
		return made{}, err
	}
	if !ok {
		return made{}, api.Errorf(api.CodeUsage, "libvirt has no image %q", spec.Image).
			WithHint("berth images --backend libvirt lists them")
	}
	return made{name: spec.Image, own: true, user: s.User, arch: s.Arch, backing: p.file(s.Volume), format: s.Format,
		virtual: s.Virtual, kernel: s.Kernel, initrd: s.Initrd, cmdline: s.Cmdline, profile: s.Profiles}, nil
}

// markOf is the sidecar under which an image of the catalogue is known in the pool: by its checksum where
// the catalogue has it, else by where it comes from.
func (b *Backend) markOf(e image.Entry) (string, error) {
	switch {
	case e.SHA256 != "":
		return basePrefix + strings.ToLower(e.SHA256)[:32] + sidecarEnd, nil
	case e.URL != "":
		sum := sha256.Sum256([]byte(e.URL + "\n" + e.SHA512 + "\n" + e.Checksums))
		return basePrefix + "url-" + hex.EncodeToString(sum[:16]) + sidecarEnd, nil
	}
	sum, err := b.sums.of(e.Path)
	if err != nil {
		return "", api.Errorf(api.CodeFailed, "reading the image %s: %w", e.Name, err)
	}
	return basePrefix + sum[:32] + sidecarEnd, nil
}

// fromCatalogue puts an image of the catalogue into the pool. An image that needs more than disk, if that is not 0, is
// not copied there for nothing.
func (b *Backend) fromCatalogue(ctx context.Context, p pool, e image.Entry, disk int64,
	say func(backend.Progress)) (made, error) {
	m := made{name: e.Name, user: e.User, arch: e.Arch, cmdline: e.Cmdline}
	mark, err := b.markOf(e)
	if err != nil {
		return m, err
	}
	s, ok, err := b.sidecar(ctx, p, mark)
	if err == nil && !ok {
		s, err = b.placeImage(ctx, p, e, mark, disk, say)
	}
	if err != nil {
		return m, err
	}
	m.backing, m.format, m.virtual = p.file(s.Volume), s.Format, max(s.Virtual, e.MinDisk)
	if e.Kernel == "" {
		return m, nil
	}
	if m.kernel, err = b.placeBoot(ctx, p, e.Kernel); err != nil {
		return m, err
	}
	if e.Initrd != "" {
		m.initrd, err = b.placeBoot(ctx, p, e.Initrd)
	}
	return m, err
}

// catalogueImages is the catalogue for this backend on a host; of the zero host it is only known that it may be like
// this one.
func (b *Backend) catalogueImages(h hostFacts) ([]image.Entry, error) {
	all, err := image.Load(b.cfg.images, or(goArch[h.arch], runtime.GOARCH))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(e image.Entry) bool { return !e.For(Name) }), nil
}

// cache keeps what was fetched for pools on this host and others.
func (b *Backend) cache() image.Cache {
	return image.Cache{Dir: filepath.Join(b.env.Home.State, "images")}
}

// placeImage fetches an image, checks it and puts it into the pool.
func (b *Backend) placeImage(ctx context.Context, p pool, e image.Entry, mark string, disk int64,
	say func(backend.Progress)) (sidecar, error) {
	f, err := b.cache().Fetch(ctx, e, say)
	if err != nil {
		return sidecar{}, err
	}
	if least := max(f.Info.VirtualBytes, e.MinDisk); disk > 0 && disk < least {
		return sidecar{}, diskTooSmall(e.Name, disk, least)
	}
	name := basePrefix + f.SHA256[:32]
	s := sidecar{Volume: name, Format: f.Info.Format, Virtual: f.Info.VirtualBytes, SHA256: f.SHA256,
		Bytes: f.Info.FileBytes}
	if err := b.place(ctx, p, name, f.Path, s, progress(say, "copying "+e.Name+" into the pool "+b.cfg.pool,
		f.Path)); err != nil {
		return s, err
	}
	if mark == name+sidecarEnd {
		return s, nil
	}
	return s, b.writeSidecar(ctx, p, mark, s)
}

func progress(say func(backend.Progress), what, file string) func(int64) {
	if say == nil {
		return nil
	}
	var total int64
	if fi, err := os.Stat(file); err == nil {
		total = fi.Size()
	}
	return func(done int64) { say(backend.Progress{What: what, Done: done, Total: total}) }
}

// placeBoot puts a kernel or initrd into the pool and returns its path there.
func (b *Backend) placeBoot(ctx context.Context, p pool, file string) (string, error) {
	sum, err := b.sums.of(file)
	if err != nil {
		return "", fmt.Errorf("reading the kernel or initrd of an image: %w", err)
	}
	name := bootPrefix + sum[:32]
	return p.file(name), b.place(ctx, p, name, file, sidecar{SHA256: sum}, nil)
}

// of returns the SHA-256 of a file, which is read again when it was changed.
func (s *sums) of(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	have, ok := s.m[file]
	s.mu.Unlock()
	if ok && have.size == fi.Size() && have.at.Equal(fi.ModTime()) {
		return have.sum, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]fileSum{}
	}
	s.m[file] = fileSum{fi.Size(), fi.ModTime(), sum}
	return sum, nil
}

// cloneSource is the disk of another machine, which must be stopped.
func (b *Backend) cloneSource(ctx context.Context, p pool, ref backend.Ref) (made, error) {
	dom, e, err := b.lookup(ctx, ref)
	if err != nil {
		return made{}, err
	}
	on, err := b.active(ctx, dom)
	if err != nil {
		return made{}, err
	}
	if on {
		return made{}, api.Errorf(api.CodeRefused, "%s is not stopped: a copy of a disk in use would be broken", e.meta.Name).
			WithHint("berth stop %s, then try again", e.meta.Name)
	}
	vol, i, err := b.diskOf(ctx, e)
	if err != nil {
		return made{}, err
	}
	h, err := b.hostFacts(ctx)
	if err != nil {
		return made{}, err
	}
	m := e.meta
	copied := i.allocation
	if s, ok := b.baseOf(ctx, p, m.Base); ok {
		copied += s.Bytes
	}
	return made{name: m.Image, user: m.User, arch: or(goArch[e.dom.OS.Type.Arch], goArch[h.arch]), from: vol,
		virtual: i.capacity, copied: copied, kernel: m.Kernel, initrd: m.Initrd, cmdline: m.Append, profile: m.Profile,
		clone: true}, nil
}

// diskOf is the volume of a machine's disk.
func (b *Backend) diskOf(ctx context.Context, e *entry) (golibvirt.StorageVol, volInfo, error) {
	p, err := b.poolOf(ctx, e.meta)
	if err != nil {
		return golibvirt.StorageVol{}, volInfo{}, err
	}
	name := volName(e.meta.Home, e.meta.Token, volDisk)
	vol, ok, err := b.volume(ctx, p, name)
	if err == nil && !ok {
		err = api.Errorf(api.CodeFailed, "the disk of %s, %s, is not in the pool %s", e.meta.Name, name, p.pool.Name)
	}
	if err != nil {
		return vol, volInfo{}, err
	}
	i, err := b.volumeInfo(ctx, vol)
	return vol, i, err
}
