package libvirt

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"berth/backend/api"
)

// pool is the storage pool of the machines.
type pool struct {
	pool golibvirt.StoragePool
	path string // on libvirtd's host
}

// file is the path of one of its volumes.
func (p pool) file(name string) string { return path.Join(p.path, name) }

// openPool finds the pool and starts it. create makes it if it is not there; else that is ErrNotFound.
func (b *Backend) openPool(ctx context.Context, create bool) (pool, error) {
	c, err := b.shared(ctx)
	if err != nil {
		return pool{}, err
	}
	unlock, err := b.locks.lock(ctx, "pool")
	if err != nil {
		return pool{}, err
	}
	defer unlock()
	if p, ok := b.poolAt.get(c); ok {
		// Others may have stopped it, or removed it and made it again.
		if on, err := ask(ctx, c, func(l *golibvirt.Libvirt) (int32, error) {
			return l.StoragePoolIsActive(p.pool)
		}); err == nil && on == 1 {
			return p, nil
		}
	}
	p, err := b.findPool(ctx)
	fresh := isGone(err) && create
	if fresh {
		p, err = b.makePool(ctx)
	}
	if err != nil {
		return pool{}, err
	}
	at, err := b.poolPath(ctx, p) // before it is started: a wrong path is said as that
	if err != nil {
		return pool{}, err
	}
	active, err := call(ctx, b, "asking for the pool "+b.cfg.pool, func(l *golibvirt.Libvirt) (int32, error) {
		return l.StoragePoolIsActive(p)
	})
	if err == nil && active == 0 {
		switch err = b.do(ctx, "starting the pool "+b.cfg.pool,
			func(l *golibvirt.Libvirt) error { return l.StoragePoolCreate(p, 0) }); {
		case says(err, "already active"):
			err = nil
		case err != nil && fresh:
			b.undefinePool(ctx, p)
		case err != nil:
			err = api.Errorf(api.AsError(err).Code, "%w", err).
				WithHint("is the folder %s there? If the pool is not needed any more: %s pool-undefine %s", at, b.cfg.uri.virsh(),
					b.cfg.pool)
		}
	}
	if err != nil {
		return pool{}, err
	}
	b.poolAt.set(c, pool{p, at})
	return pool{p, at}, nil
}

func (b *Backend) findPool(ctx context.Context) (golibvirt.StoragePool, error) {
	return call(ctx, b, "looking for the pool "+b.cfg.pool, func(l *golibvirt.Libvirt) (golibvirt.StoragePool, error) {
		return l.StoragePoolLookupByName(b.cfg.pool)
	})
}

// poolOf is the pool that a machine's volumes are in: another one than for new machines, if the setting was
// changed meanwhile.
func (b *Backend) poolOf(ctx context.Context, m *metadata) (pool, error) {
	if m.Pool == "" || m.Pool == b.cfg.pool {
		return b.openPool(ctx, false)
	}
	p, err := call(ctx, b, "looking for the pool "+m.Pool, func(l *golibvirt.Libvirt) (golibvirt.StoragePool, error) {
		return l.StoragePoolLookupByName(m.Pool)
	})
	if err != nil {
		return pool{}, err
	}
	x, err := b.poolXML(ctx, p)
	return pool{p, x.Target.Path}, err
}

// poolXML is what is read of a pool's description.
type poolXML struct {
	Type   string `xml:"type,attr"`
	Target struct {
		Path string `xml:"path"`
	} `xml:"target"`
}

func (b *Backend) poolXML(ctx context.Context, p golibvirt.StoragePool) (poolXML, error) {
	var x poolXML
	text, err := call(ctx, b, "reading the pool "+p.Name, func(l *golibvirt.Libvirt) (string, error) {
		return l.StoragePoolGetXMLDesc(p, 0)
	})
	if err == nil {
		err = xml.Unmarshal([]byte(text), &x)
	}
	if err != nil {
		return x, fmt.Errorf("reading the pool %s: %w", p.Name, err)
	}
	return x, nil
}

func (b *Backend) poolPath(ctx context.Context, p golibvirt.StoragePool) (string, error) {
	x, err := b.poolXML(ctx, p)
	if err != nil {
		return "", err
	}
	switch {
	case x.Type != "dir" && x.Type != "fs" && x.Type != "netfs":
		return "", api.Errorf(api.CodeUsage, "the pool %s is of the type %s: machines need one that is a folder", b.cfg.pool,
			x.Type).
			WithHint("name another with backend.libvirt.pool; Berth makes it if it is not there")
	case b.cfg.poolPath != "" && filepath.Clean(b.cfg.poolPath) != filepath.Clean(x.Target.Path):
		return "", api.Errorf(api.CodeUsage, "the pool %s is at %s, not at %s as backend.libvirt.pool_path says", b.cfg.pool,
			x.Target.Path, b.cfg.poolPath).
			WithHint("name another pool with backend.libvirt.pool, or remove pool_path")
	}
	return x.Target.Path, nil
}

// makePool makes the pool; where another process was faster, its.
func (b *Backend) makePool(ctx context.Context) (golibvirt.StoragePool, error) {
	at := b.cfg.poolPath
	switch {
	case at != "":
	case !b.cfg.uri.session:
		at = "/var/lib/libvirt/images/" + b.cfg.pool
	case b.cfg.uri.host != nil:
		return golibvirt.StoragePool{}, api.Errorf(api.CodeUsage, "the session daemon of %s has no pool %s", b.cfg.uri.via(),
			b.cfg.pool).
			WithHint("say where to make it: backend.libvirt.pool_path")
	default:
		at = filepath.Join(dataDir(), "libvirt", "images", b.cfg.pool)
	}
	text, err := (&libvirtxml.StoragePool{Type: "dir", Name: b.cfg.pool,
		Target: &libvirtxml.StoragePoolTarget{Path: at}}).Marshal()
	if err != nil {
		return golibvirt.StoragePool{}, fmt.Errorf("encoding the pool: %w", err)
	}
	what := fmt.Sprintf("making the pool %s in %s", b.cfg.pool, at)
	p, err := call(ctx, b, what, func(l *golibvirt.Libvirt) (golibvirt.StoragePool, error) {
		return l.StoragePoolDefineXML(text, 0)
	})
	if err != nil {
		if q, ferr := b.findPool(ctx); ferr == nil {
			return q, nil
		}
		return p, err
	}
	if err := b.do(ctx, what, func(l *golibvirt.Libvirt) error { return l.StoragePoolBuild(p, 0) }); err != nil {
		b.undefinePool(ctx, p)
		return p, api.Errorf(api.AsError(err).Code, "%w", err).
			WithHint("name a folder that can be made with backend.libvirt.pool_path")
	}
	return p, b.do(ctx, what, func(l *golibvirt.Libvirt) error { return l.StoragePoolSetAutostart(p, 1) })
}

// undefinePool takes back a pool that can't be used: it would stand in the way of one in a better place.
func (b *Backend) undefinePool(ctx context.Context, p golibvirt.StoragePool) {
	err := b.do(context.WithoutCancel(ctx), "removing the pool "+p.Name,
		func(l *golibvirt.Libvirt) error { return l.StoragePoolUndefine(p) })
	if err != nil && !isGone(err) && b.env.Log != nil {
		b.env.Log.Warn("a pool that can't be used is left", "pool", p.Name, "error", err)
	}
}

// volume finds a volume by name; ok is false if there is none.
func (b *Backend) volume(ctx context.Context, p pool, name string) (v golibvirt.StorageVol, ok bool, err error) {
	v, err = call(ctx, b, "looking for the volume "+name, func(l *golibvirt.Libvirt) (golibvirt.StorageVol, error) {
		return l.StorageVolLookupByName(p.pool, name)
	})
	if isGone(err) {
		return v, false, nil
	}
	return v, err == nil, err
}

// volSpec describes a volume to be made.
type volSpec struct {
	name    string
	bytes   int64
	format  string // raw or qcow2
	backing string // path of a file; "": none

	backingFormat string // "": qcow2
}

func (v volSpec) xml() (string, error) {
	x := &libvirtxml.StorageVolume{Name: v.name, Type: "file",
		Capacity:   &libvirtxml.StorageVolumeSize{Value: uint64(v.bytes), Unit: "bytes"},
		Allocation: &libvirtxml.StorageVolumeSize{Value: 0, Unit: "bytes"},
		Target:     &libvirtxml.StorageVolumeTarget{Format: &libvirtxml.StorageVolumeTargetFormat{Type: v.format}}}
	if v.format == "qcow2" {
		x.Target.Compat = "1.1"
	}
	if v.backing != "" {
		x.BackingStore = &libvirtxml.StorageVolumeBackingStore{Path: v.backing,
			Format: &libvirtxml.StorageVolumeTargetFormat{Type: or(v.backingFormat, "qcow2")}}
	}
	s, err := x.Marshal()
	if err != nil {
		return "", fmt.Errorf("encoding the volume %s: %w", v.name, err)
	}
	return s, nil
}

// makeVolume makes a volume, or returns the one that has the name. Of the second it is not known whether
// it is whole.
func (b *Backend) makeVolume(ctx context.Context, p pool, v volSpec) (golibvirt.StorageVol, bool, error) {
	text, err := v.xml()
	if err != nil {
		return golibvirt.StorageVol{}, false, err
	}
	what := "making the volume " + v.name
	vol, err := call(ctx, b, what, func(l *golibvirt.Libvirt) (golibvirt.StorageVol, error) {
		return l.StorageVolCreateXML(p.pool, text, 0)
	})
	if hasCode(err, golibvirt.ErrStorageVolExist) {
		have, ok, ferr := b.volume(ctx, p, v.name)
		if ferr == nil && ok {
			return have, false, nil
		}
		return vol, false, errors.Join(err, ferr)
	}
	if says(err, "already exists", "File exists") {
		// A file that a daemon which was killed has made, and which the pool does not know yet.
		if rerr := b.refresh(ctx, p); rerr != nil {
			return vol, false, rerr
		}
		if have, ok, ferr := b.volume(ctx, p, v.name); ferr == nil && ok {
			return have, false, nil
		}
	}
	return vol, err == nil, err
}

func (b *Backend) refresh(ctx context.Context, p pool) error {
	return b.do(ctx, "refreshing the pool "+b.cfg.pool,
		func(l *golibvirt.Libvirt) error { return l.StoragePoolRefresh(p.pool, 0) })
}

// renew refreshes the pool, so that what others have written there shows. libvirt refuses that while a job works in the
// pool: what is known of it counts then.
func (b *Backend) renew(ctx context.Context, p pool) error {
	if err := b.refresh(ctx, p); err != nil && !says(err, "asynchronous jobs") {
		return err
	}
	return nil
}

// removeVolume removes a volume; it succeeds if there is none.
func (b *Backend) removeVolume(ctx context.Context, p pool, name string) error {
	v, ok, err := b.volume(ctx, p, name)
	if err != nil || !ok {
		return err
	}
	err = b.do(ctx, "removing the volume "+name, func(l *golibvirt.Libvirt) error { return l.StorageVolDelete(v, 0) })
	if isGone(err) || says(err, "No such file") {
		return nil
	}
	return err
}

type volInfo struct{ capacity, allocation int64 }

func (b *Backend) volumeInfo(ctx context.Context, v golibvirt.StorageVol) (volInfo, error) {
	return call(ctx, b, "looking at the volume "+v.Name, func(l *golibvirt.Libvirt) (volInfo, error) {
		_, c, a, err := l.StorageVolGetInfo(v)
		return volInfo{int64(c), int64(a)}, err
	})
}

// upload writes into a volume from its beginning, on a connection of its own.
func (b *Backend) upload(ctx context.Context, v golibvirt.StorageVol, r io.Reader, n int64) error {
	_, err := apart(ctx, b, "writing the volume "+v.Name, func(l *golibvirt.Libvirt) (struct{}, error) {
		return struct{}{}, l.StorageVolUpload(v, r, 0, uint64(n), 0)
	})
	return err
}

// A stream from libvirtd was seen to stop now and then without its end, on a connection that was alive
// otherwise. What is read this way is small: it is read again on another connection.
const (
	downloadTries = 4
	downloadLimit = 8 * time.Second
)

// download reads n bytes of a volume, a megabyte at most, from offset on.
func (b *Backend) download(ctx context.Context, v golibvirt.StorageVol, offset, n int64) ([]byte, error) {
	for try := 1; ; try++ {
		tctx, cancel := context.WithTimeout(ctx, downloadLimit)
		text, err := apart(tctx, b, "reading the volume "+v.Name, func(l *golibvirt.Libvirt) ([]byte, error) {
			var buf bytes.Buffer
			err := l.StorageVolDownload(v, &buf, uint64(offset), uint64(n), 0)
			return buf.Bytes(), err
		})
		late := tctx.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case !late || err == nil:
			return text, err
		case try == downloadTries:
			return nil, api.Errorf(api.CodeUnreachable,
				"reading the volume %s: libvirtd (%s) began to answer and did not end, %d times", v.Name, b.cfg.uri.text, try)
		}
		if b.env.Log != nil {
			b.env.Log.Warn("a volume's stream stopped; reading it again", "volume", v.Name, "try", try)
		}
	}
}

// volumes lists the pool's volumes.
func (b *Backend) volumes(ctx context.Context, p pool) ([]golibvirt.StorageVol, error) {
	return call(ctx, b, "listing the volumes of the pool "+b.cfg.pool, func(l *golibvirt.Libvirt) ([]golibvirt.StorageVol,
		error) {
		v, _, err := l.StoragePoolListAllVolumes(p.pool, 1, 0)
		return v, err
	})
}

// headroom is what a new machine's disk may need to begin with.
const headroom = 1 << 30

// space refuses what the pool has no room for: copied bytes and the first growth of a disk.
func (b *Backend) space(ctx context.Context, p pool, copied, disk int64) error {
	i, err := b.poolSpace(ctx, p)
	if err != nil {
		return err
	}
	need := copied + min(disk, headroom)
	if i.free >= need {
		return nil
	}
	return api.Errorf(api.CodeCapacity, "the pool %s (%s) has no room: %s are needed, %s of %s are free", b.cfg.pool,
		p.path,
		humanize.IBytes(uint64(need)), humanize.IBytes(uint64(i.free)), humanize.IBytes(uint64(i.capacity))).
		WithHint("free space there, or name another pool with backend.libvirt.pool")
}

// roomFor refuses a disk that was asked for and could never be filled. Disks that can be filled, but not all at the
// same time, are the user's to judge.
func (b *Backend) roomFor(ctx context.Context, p pool, disk int64) error {
	i, err := b.poolSpace(ctx, p)
	if err != nil || disk <= i.capacity || i.capacity == 0 {
		return err
	}
	return api.Errorf(api.CodeCapacity, "a disk of %s is larger than all of the pool %s (%s), which has %s",
		humanize.IBytes(uint64(disk)), b.cfg.pool, p.path, humanize.IBytes(uint64(i.capacity))).
		WithHint("ask for a smaller one with --disk, or name another pool with backend.libvirt.pool")
}

type poolSpace struct{ capacity, free int64 }

func (b *Backend) poolSpace(ctx context.Context, p pool) (poolSpace, error) {
	return call(ctx, b, "asking for the space of the pool "+b.cfg.pool, func(l *golibvirt.Libvirt) (poolSpace, error) {
		_, c, _, a, err := l.StoragePoolGetInfo(p.pool)
		return poolSpace{int64(c), int64(a)}, err
	})
}
