package libvirt

import (
	"context"
	"fmt"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/dustin/go-humanize"

	"berth/backend/api"
)

// lowSpace is how much free space of a pool doctor warns of, in bytes.
const lowSpace = 10 << 30

// Check implements backend.Checker.
func (b *Backend) Check(ctx context.Context) []api.Check {
	out := b.checkFiles()
	_, err := b.shared(ctx)
	if err != nil {
		c := failed("libvirtd", err)
		if b.absent(err) {
			c.Status = "info"
		}
		return append(out, c)
	}
	out = append(out, b.checkVersion(ctx), b.checkAccel(ctx), b.checkPool(ctx), b.checkNetwork(ctx))
	out = append(out, b.checkGPUs(ctx)...)
	out = append(out, b.checkMachines(ctx)...)
	return append(out, b.checkSizes(ctx)...)
}

// checkFiles says what is wrong with the user's files of images and sizes.
func (b *Backend) checkFiles() (out []api.Check) {
	_, ierr := b.catalogueImages(hostFacts{})
	_, serr := b.cfg.catalogue()
	for _, f := range []struct {
		name, file string
		err        error
	}{{"images", b.cfg.images, ierr}, {"sizes", b.cfg.sizes, serr}} {
		if f.err == nil {
			continue
		}
		c := failed(f.name, f.err)
		c.Fix = "mend " + f.file + "; until then nothing can be created here"
		if hint := api.AsError(f.err).Hint; hint != "" {
			c.Fix += " (" + hint + ")"
		}
		out = append(out, c)
	}
	return out
}

// checkSizes says which sizes are not offered and why: those of the user's one by one.
func (b *Backend) checkSizes(ctx context.Context) (out []api.Check) {
	all, err := b.cfg.catalogue()
	if err != nil {
		return nil // said already
	}
	h, err := b.hostFacts(ctx)
	if err != nil {
		return nil // with the acceleration
	}
	gpus, err := b.hostGPUs(ctx)
	if err != nil {
		return nil // with the GPUs
	}
	var too []string
	for _, z := range all {
		why := lacks(z, h, gpus.fits)
		switch {
		case len(why) == 0:
		case z.own:
			c := check("size "+z.Name, "warn", "it is not offered, since the host is too small for it: %s",
				strings.Join(why, ", "))
			c.Fix = "make it smaller in " + b.cfg.sizes
			out = append(out, c)
		default:
			too = append(too, z.Name)
		}
	}
	if len(too) > 0 {
		out = append(out, check("sizes", "info", "not offered, since the host (%d vCPUs, %s) has too little for them: %s",
			h.vcpus, humanize.IBytes(uint64(h.memory)), strings.Join(too, ", ")))
	}
	return out
}

func check(name, status, format string, a ...any) api.Check {
	return api.Check{Area: Name, Name: name, Status: status, Message: fmt.Sprintf(format, a...)}
}

func failed(name string, err error) api.Check {
	e := api.AsError(err)
	return api.Check{Area: Name, Name: name, Status: "fail", Message: e.Message, Fix: e.Hint}
}

// version writes libvirt's number for a version: 9000000 is 9.0.0.
func version(v uint64) string { return fmt.Sprintf("%d.%d.%d", v/1e6, v/1000%1000, v%1000) }

func (b *Backend) checkVersion(ctx context.Context) api.Check {
	type versions struct {
		lib, qemu uint64
		host      string
	}
	v, err := call(ctx, b, "asking for the versions", func(l *golibvirt.Libvirt) (v versions, err error) {
		if v.lib, err = l.ConnectGetLibVersion(); err != nil {
			return v, err
		}
		if v.host, err = l.ConnectGetHostname(); err != nil {
			return v, err
		}
		v.qemu, err = l.ConnectGetVersion()
		return v, err
	})
	if err != nil {
		return failed("libvirtd", err)
	}
	return check("libvirtd", "ok", "%s: libvirt %s, qemu %s on %s", b.cfg.uri.text, version(v.lib), version(v.qemu),
		v.host)
}

func (b *Backend) checkAccel(ctx context.Context) api.Check {
	h, err := b.hostFacts(ctx)
	if err != nil {
		return failed("acceleration", err)
	}
	t, err := b.virtType(h, h.arch)
	switch {
	case err != nil:
		return failed("acceleration", err)
	case t == "kvm":
		return check("acceleration", "ok", "machines run on KVM")
	case b.cfg.accel == "emulate":
		return check("acceleration", "info",
			"machines are emulated, as backend.libvirt.accel says: some ten times slower than KVM")
	}
	c := check("acceleration", "warn", "machines are emulated, some ten times slower: %s", h.noKVM)
	c.Fix = "switch virtualization on in the firmware of that host; inside a virtual machine, nested virtualization on its host"
	return c
}

func (b *Backend) checkPool(ctx context.Context) api.Check {
	p, err := b.openPool(ctx, false)
	if isGone(err) {
		return check("pool", "info", "the pool %s is made with the first machine", b.cfg.pool)
	}
	if err != nil {
		return failed("pool", err)
	}
	if err := b.renew(ctx, p); err != nil {
		return failed("pool", err)
	}
	i, err := b.poolSpace(ctx, p)
	if err != nil {
		return failed("pool", err)
	}
	text := fmt.Sprintf("the pool %s (%s) has %s of %s free", b.cfg.pool, p.path, humanize.IBytes(uint64(i.free)),
		humanize.IBytes(uint64(i.capacity)))
	if i.free >= lowSpace {
		return check("pool", "ok", "%s", text)
	}
	c := check("pool", "warn", "%s: a machine whose disk can't grow stands still", text)
	c.Fix = "remove machines or images that nobody needs, or free space on that file system"
	return c
}

func (b *Backend) checkNetwork(ctx context.Context) api.Check {
	n, err := b.network(ctx, "", false)
	if err != nil {
		return failed("network", err)
	}
	switch n.kind {
	case netUser:
		return check("network", "ok", "machines reach out; their SSH is on a port of the host's loopback")
	case netBridge:
		return check("network", "ok", "machines are on the bridge %s", n.name)
	}
	on, err := call(ctx, b, "asking for the network "+n.name, func(l *golibvirt.Libvirt) (bool, error) {
		net, err := l.NetworkLookupByName(n.name)
		if err != nil {
			return false, err
		}
		v, err := l.NetworkIsActive(net)
		return v == 1, err
	})
	switch {
	case isGone(err):
		return check("network", "info", "the network %s is made with the first machine", n.name)
	case err != nil:
		return failed("network", err)
	case !on:
		return check("network", "info", "the network %s is off; it is started with the next machine", n.name)
	}
	return check("network", "ok", "machines are on the network %s", n.name)
}
