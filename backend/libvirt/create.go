package libvirt

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/dustin/go-humanize"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/machine/cloudinit"
)

// attempts bounds how often a machine is started with another port because qemu found the one taken.
const attempts = 8

// Create implements backend.Backend. Each of its steps may have been done by a predecessor that was
// killed: what is there and fits is used.
func (b *Backend) Create(ctx context.Context, spec backend.Spec) (backend.Machine, error) {
	if !goodToken().MatchString(spec.Token) {
		return backend.Machine{}, api.Errorf(api.CodeUsage, "creating %s: the token %q can't name a volume", spec.Name,
			spec.Token)
	}
	unlock, err := b.locks.lock(ctx, "machine "+uuidText(uuidOf(spec.Token)))
	if err != nil {
		return backend.Machine{}, err
	}
	defer unlock()
	ref := backend.Ref{Token: spec.Token, Name: spec.Name}
	dom, e, err := b.lookup(ctx, ref)
	if isGone(err) {
		dom, err = b.define(ctx, spec)
		if err != nil {
			return backend.Machine{}, err
		}
		b.fault("libvirt.create.defined")
		e, err = b.entry(ctx, dom)
	}
	if err != nil {
		return backend.Machine{}, err
	}
	err = b.asItIs(ctx, dom, func(now stateAnswer) error {
		// A domain that was switched off since it was made is left so. Of one whose start was cut off, the next libvirtd may
		// say that it has crashed.
		never := now.is(golibvirt.DomainShutoff, int32(golibvirt.DomainShutoffUnknown), int32(golibvirt.DomainShutoffFailed),
			int32(golibvirt.DomainShutoffDaemon), int32(golibvirt.DomainShutoffCrashed))
		if !never && !now.is(golibvirt.DomainPaused, int32(golibvirt.DomainPausedStartingUp)) {
			return nil
		}
		if err := b.perform(ctx, dom, e, forStart(now)); err != nil {
			return err
		}
		b.fault("libvirt.create.started")
		return nil
	})
	if err != nil {
		return backend.Machine{}, err
	}
	return b.Get(ctx, ref)
}

// made is what a new machine is made from.
type made struct {
	name    string // the image's
	user    string
	arch    string // as Go names it
	backing string // path of the file that the disk is laid over
	format  string // of that file
	from    golibvirt.StorageVol
	clone   bool
	own     bool  // an image that was built from a machine
	virtual int64 // bytes that the disk has at least
	copied  int64 // bytes that the copy takes
	kernel  string
	initrd  string
	cmdline string
	profile []string
}

// define makes a machine's volumes and its domain.
func (b *Backend) define(ctx context.Context, spec backend.Spec) (golibvirt.Domain, error) {
	var none golibvirt.Domain
	if err := possible(spec); err != nil {
		return none, err
	}
	z, err := b.sizeOf(spec)
	if err != nil {
		return none, err
	}
	if spec.Access == nil {
		return none, api.Errorf(api.CodeUsage, "creating %s: no key is given, so nobody could sign in", spec.Name)
	}
	h, err := b.hostFacts(ctx)
	if err != nil {
		return none, err
	}
	n, err := b.network(ctx, spec.Subnet, true)
	if err != nil {
		return none, err
	}
	p, err := b.openPool(ctx, true)
	if err != nil {
		return none, err
	}
	from, err := b.source(ctx, p, spec, nil)
	if err != nil {
		return none, err
	}
	disk, err := diskSize(spec, z, from)
	if err != nil {
		return none, err
	}
	if err := b.space(ctx, p, from.copied, disk); err != nil {
		return none, err
	}
	if z.GPUs > 0 { // refused before anything is made
		if _, _, err := b.allot(ctx, z); err != nil {
			return none, err
		}
	}
	if err := b.markUsed(); err != nil {
		return none, err
	}
	name := func(kind string) string { return volName(b.env.HomeID, spec.Token, kind) }
	if err := b.makeDisk(ctx, p, name(volDisk), from, disk); err != nil {
		return none, err
	}
	b.fault("libvirt.create.disk")
	pl := plan{
		uuid: uuidText(uuidOf(spec.Token)), arch: h.libvirtArch(from.arch), vcpus: z.VCPUs, memory: z.memory,
		disk: p.file(name(volDisk)), seed: p.file(name(volSeed)), log: p.file(name(volLog)), kernel: from.kernel,
		initrd: from.initrd, net: n,
		meta: metadata{
			Token: spec.Token, Home: b.env.HomeID, Pool: b.cfg.pool, Name: spec.Name, Size: spec.Size, Image: from.name,
			User: from.user, Network: n.String(), Disk: disk,
			SSH: spec.SSH, Created: time.Now().UTC().Format(time.RFC3339), Keys: spec.Access.AuthorizedKeys,
			Tags: tagsOf(spec.Tags), Profile: from.profile, Copied: from.clone || from.own,
			Base: from.backing, Kernel: from.kernel, Initrd: from.initrd, Append: from.cmdline,
		},
	}
	if pl.virtType, err = b.virtType(h, pl.arch); err != nil {
		return none, err
	}
	agent, err := b.handIn(ctx, from.arch)
	if err != nil {
		return none, err
	}
	pl.meta.Agent = agent != nil
	if err := b.writeSeed(ctx, p, &pl.meta, spec.Access, agent); err != nil {
		return none, err
	}
	b.fault("libvirt.create.seed")
	if _, _, err := b.makeVolume(ctx, p, volSpec{name: name(volLog), bytes: 1, format: "raw"}); err != nil {
		return none, err
	}
	if z.GPUs > 0 {
		unlock, err := b.locks.lock(ctx, "gpus")
		if err != nil {
			return none, err
		}
		defer unlock()
		if pl.meta.GPUs, pl.hostdevs, err = b.allot(ctx, z); err != nil {
			return none, err
		}
	}
	return b.defineDomain(ctx, pl)
}

// defineDomain defines a domain under a name that no other has.
func (b *Backend) defineDomain(ctx context.Context, pl plan) (golibvirt.Domain, error) {
	if pl.net.kind == netUser {
		if pl.meta.Port = b.port(pl.meta.Token); pl.meta.Port == 0 {
			return golibvirt.Domain{}, api.Errorf(api.CodeCapacity, "creating %s: every port from %d on is in use", pl.meta.Name,
				firstPort)
		}
	}
	first, second := domainName(pl.meta.Name, pl.meta.Token)
	for _, pl.name = range []string{first, second} {
		text, err := domainXML(pl)
		if err != nil {
			return golibvirt.Domain{}, err
		}
		dom, err := call(ctx, b, "defining the machine "+pl.meta.Name, func(l *golibvirt.Libvirt) (golibvirt.Domain, error) {
			return l.DomainDefineXMLFlags(text, 0)
		})
		if err == nil || !says(err, "already exists", "is already defined") {
			return dom, err
		}
		// Another domain has the name, or another process has defined this very machine.
		if dom, _, lerr := b.lookup(ctx, backend.Ref{Token: pl.meta.Token}); lerr == nil {
			return dom, nil
		}
		if pl.name == second {
			return dom, err
		}
	}
	panic("not reached")
}

// port chooses the loopback port of a machine in user networking.
func (b *Backend) port(token string) int {
	used := map[int]bool{}
	for _, e := range b.known.ours() {
		if e.meta.Token != token {
			used[e.meta.Port] = true
		}
	}
	return b.ports.choose(token, used, time.Now())
}

// diskSize is the size of a new machine's disk.
func diskSize(spec backend.Spec, z size, from made) (int64, error) {
	if spec.DiskBytes > 0 && spec.DiskBytes < from.virtual {
		return 0, diskTooSmall(or(from.name, "the disk that is copied"), spec.DiskBytes, from.virtual)
	}
	if spec.DiskBytes > 0 {
		return spec.DiskBytes &^ 511, nil
	}
	if from.clone {
		return from.virtual, nil // as it is there, whatever the size would have
	}
	return max(z.disk&^511, from.virtual), nil
}

// diskTooSmall refuses a disk on which its image has no room, and names the smallest one.
func diskTooSmall(image string, disk, least int64) error {
	return api.Errorf(api.CodeUsage, "a disk of %s is too small: %s needs %s", humanize.IBytes(uint64(disk)), image,
		humanize.IBytes(uint64(least))).WithHint("the smallest is --disk %dMiB", (least+1<<20-1)>>20)
}

// makeDisk makes a machine's disk: laid over an image, or a copy.
func (b *Backend) makeDisk(ctx context.Context, p pool, name string, from made, bytes int64) error {
	v := volSpec{name: name, bytes: bytes, format: "qcow2", backing: from.backing, backingFormat: from.format}
	if from.clone {
		return b.copyDisk(ctx, p, v, from.from, from.virtual)
	}
	vol, fresh, err := b.makeVolume(ctx, p, v)
	if err != nil || fresh {
		return err
	}
	// From a predecessor. Whether it was finished shows in what it is.
	ok, err := b.isOverlay(ctx, vol, v)
	if err != nil || ok {
		return err
	}
	if err := b.removeVolume(ctx, p, name); err != nil {
		return err
	}
	_, _, err = b.makeVolume(ctx, p, v)
	return err
}

func (b *Backend) isOverlay(ctx context.Context, vol golibvirt.StorageVol, v volSpec) (bool, error) {
	x, err := b.volumeXML(ctx, vol)
	if err != nil {
		return false, err
	}
	return x.Capacity != nil && int64(x.Capacity.Value) == v.bytes && x.BackingStore != nil &&
		x.BackingStore.Path == v.backing, nil
}

// copyDisk copies another volume; a copy that a predecessor did not finish is made again.
func (b *Backend) copyDisk(ctx context.Context, p pool, v volSpec, from golibvirt.StorageVol, virtual int64) error {
	if err := b.removeVolume(ctx, p, v.name); err != nil {
		return err
	}
	want := v.bytes
	v.bytes = virtual
	text, err := v.xml()
	if err != nil {
		return err
	}
	vol, err := apart(ctx, b, "copying "+from.Name, func(l *golibvirt.Libvirt) (golibvirt.StorageVol, error) {
		return l.StorageVolCreateXMLFrom(p.pool, text, from, 0)
	})
	if err != nil || want <= virtual {
		return err
	}
	return b.do(ctx, "growing the disk "+v.name, func(l *golibvirt.Libvirt) error {
		return l.StorageVolResize(vol, uint64(want), 0)
	})
}

// seedStep is what the size of a seed volume is a multiple of: a seed that is written again fits.
const seedStep = 1 << 20

// handIn is the agent that a new machine finds in its seed, or nil where there is none for it: it is put in
// place over SSH then.
func (b *Backend) handIn(ctx context.Context, arch string) (*cloudinit.Agent, error) {
	if b.env.Agent == nil {
		return nil, nil
	}
	a, err := b.env.Agent(ctx, "linux", arch)
	if err != nil {
		b.env.Log.Info("libvirt: no agent to hand in", "arch", arch, "error", err)
		return nil, ctx.Err()
	}
	program, err := os.ReadFile(a.Path)
	if err != nil {
		return nil, fmt.Errorf("reading the agent that is handed in: %w", err)
	}
	return &cloudinit.Agent{Name: a.Name, Args: a.Args, Hash: a.Hash, Built: a.Built, Program: program}, nil
}

// writeSeed makes or rewrites a machine's seed; without access it has no host key.
func (b *Backend) writeSeed(ctx context.Context, p pool, m *metadata, access *backend.Access,
	agent *cloudinit.Agent) error {
	c := cloudinit.Config{InstanceID: m.Token, Hostname: m.Name, User: m.User, AuthorizedKeys: m.Keys, Copied: m.Copied,
		Agent: agent}
	if access != nil {
		c.HostKey, c.HostKeyPublic = access.HostKey, access.HostKeyPublic
	}
	iso, err := cloudinit.Seed(c)
	if err != nil {
		return fmt.Errorf("making the seed of %s: %w", m.Name, err)
	}
	n := (int64(len(iso)) + seedStep - 1) / seedStep * seedStep
	name := volName(m.Home, m.Token, volSeed)
	vol, fresh, err := b.makeVolume(ctx, p, volSpec{name: name, bytes: n, format: "raw"})
	if err != nil {
		return err
	}
	if !fresh {
		i, err := b.volumeInfo(ctx, vol)
		if err != nil {
			return err
		}
		if i.capacity < n {
			if err := b.do(ctx, "growing the volume "+name, func(l *golibvirt.Libvirt) error {
				return l.StorageVolResize(vol, uint64(n), 0)
			}); err != nil {
				return err
			}
		}
		n = max(n, i.capacity) // nothing of an earlier seed stays behind this one
	}
	full := make([]byte, n)
	copy(full, iso)
	return b.upload(ctx, vol, bytes.NewReader(full), n)
}
