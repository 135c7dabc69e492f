package libvirt

import (
	"context"
	"strings"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"berth/backend"
	"berth/backend/api"
)

// locked finds a machine and keeps other changes of it away until done.
func (b *Backend) locked(ctx context.Context, ref backend.Ref) (golibvirt.Domain, *entry, func(), error) {
	id, ok := refUUID(ref)
	if !ok {
		return golibvirt.Domain{}, nil, nil, b.gone(ref)
	}
	unlock, err := b.locks.lock(ctx, "machine "+uuidText(id))
	if err != nil {
		return golibvirt.Domain{}, nil, nil, err
	}
	dom, e, err := b.lookup(ctx, ref)
	if err != nil {
		unlock()
		return dom, nil, nil, err
	}
	return dom, e, unlock, nil
}

// Start implements backend.Backend. What is paused or suspended goes on.
func (b *Backend) Start(ctx context.Context, ref backend.Ref) error {
	dom, e, unlock, err := b.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer unlock()
	b.stops.Delete(dom.UUID)
	return b.asItIs(ctx, dom, func(now stateAnswer) error { return b.perform(ctx, dom, e, forStart(now)) })
}

// perform does what forStart or forStop says.
func (b *Backend) perform(ctx context.Context, dom golibvirt.Domain, e *entry, what deed) error {
	switch what {
	case runIt:
		return b.run(ctx, dom, e)
	case runAnew:
		if err := b.destroy(ctx, dom, 0); err != nil {
			return err
		}
		return b.run(ctx, dom, e)
	case letGoOn:
		return b.do(ctx, "letting "+e.meta.Name+" go on", func(l *golibvirt.Libvirt) error { return l.DomainResume(dom) })
	case wakeIt:
		return b.do(ctx, "waking "+e.meta.Name, func(l *golibvirt.Libvirt) error { return l.DomainPmWakeup(dom, 0) })
	case pressButton:
		return b.powerButton(ctx, dom)
	case switchOff:
		return b.destroy(ctx, dom, golibvirt.DomainDestroyGraceful)
	case awaitOff:
		return api.Errorf(api.CodeConflict, "%s is still shutting down", e.meta.Name).WithHint("start it when it is stopped")
	case refusePaused:
		return api.Errorf(api.CodeRefused,
			"%s is paused and can't shut down: switching it off would lose what it has not written", e.meta.Name).
			WithHint("let it go on: berth start %s; or switch it off: berth stop %s --force", e.meta.Name, e.meta.Name)
	}
	return nil
}

// run starts a domain that is switched off.
func (b *Backend) run(ctx context.Context, dom golibvirt.Domain, e *entry) error {
	if n, err := parseNetwork(e.meta.Network); err == nil && n.kind == netNetwork {
		if _, err := b.network(ctx, n.name, true); err != nil {
			return err
		}
	}
	if len(e.meta.GPUs) > 0 {
		unlock, err := b.locks.lock(ctx, "gpus")
		if err != nil {
			return err
		}
		defer unlock()
		if err := b.freshGPUs(ctx, dom, e); err != nil {
			return err
		}
	}
	port := e.meta.Port
	for try := 1; ; try++ {
		err := b.do(ctx, "starting "+e.meta.Name, func(l *golibvirt.Libvirt) error { return l.DomainCreate(dom) })
		if err == nil {
			return nil
		}
		switch {
		case port != 0 && portTaken(err) && try < attempts:
			b.ports.refuse(port, time.Now())
			if port = b.port(e.meta.Token); port == 0 {
				return err
			}
			if err := b.movePort(ctx, dom, port); err != nil {
				return err
			}
		case says(err, "Cannot allocate memory", "cannot set up guest memory"):
			return api.Errorf(api.CodeCapacity, "%w", err).
				WithHint("its host has too little free memory: stop another machine there")
		case says(err, "is in use by driver", "is in use by domain") && try < 3:
			// Another process was faster.
			ferr := b.freshGPUs(ctx, dom, e)
			if ferr != nil {
				return ferr
			}
			if dom, e, ferr = b.lookup(ctx, backend.Ref{Token: e.meta.Token, Name: e.meta.Name}); ferr != nil {
				return ferr
			}
		case says(err, "is in use by driver", "is in use by domain"):
			return api.Errorf(api.CodeConflict, "%w", err).
				WithHint("another machine has the device; start it again when that one is stopped")
		default:
			if gone := b.missingError(ctx, e); gone != nil {
				return gone
			}
			return err
		}
	}
}

// movePort gives a machine that is off another port.
func (b *Backend) movePort(ctx context.Context, dom golibvirt.Domain, port int) error {
	return b.redefine(ctx, dom, func(d *libvirtxml.Domain, m *metadata) error {
		m.Port = port
		setNetwork(d, network{kind: netUser}, macOf(m.Token), port)
		return nil
	})
}

// portTaken reports whether qemu could not forward its port.
func portTaken(err error) bool {
	return says(err, "host forwarding rule", "hostfwd")
}

// redefine changes the definition of a domain that is switched off.
func (b *Backend) redefine(ctx context.Context, dom golibvirt.Domain,
	f func(d *libvirtxml.Domain, m *metadata) error) error {
	what := "changing the definition of " + dom.Name
	text, err := call(ctx, b, what, func(l *golibvirt.Libvirt) (string, error) {
		return l.DomainGetXMLDesc(dom, golibvirt.DomainXMLInactive|golibvirt.DomainXMLSecure)
	})
	if err != nil {
		return err
	}
	if text, err = change(text, f); err != nil {
		return err
	}
	_, err = call(ctx, b, what, func(l *golibvirt.Libvirt) (golibvirt.Domain, error) {
		return l.DomainDefineXMLFlags(text, 0)
	})
	b.known.forget(dom.UUID)
	return err
}

// Stop implements backend.Backend: it presses the power button. A system that can't hear it any more is
// switched off.
func (b *Backend) Stop(ctx context.Context, ref backend.Ref) error {
	dom, e, unlock, err := b.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer unlock()
	var last deed
	err = b.asItIs(ctx, dom, func(now stateAnswer) error {
		last = forStop(now)
		return b.perform(ctx, dom, e, last)
	})
	if last != pressButton {
		return err
	}
	if says(err, "is not running") { // it stays paused
		return b.perform(ctx, dom, e, refusePaused)
	}
	if err != nil {
		return err
	}
	now := time.Now()
	b.stops.Store(dom.UUID, &stopping{id: dom.ID, last: now, till: now.Add(pressFor)})
	return nil
}

// Restart implements backend.Backend: its system is asked to restart; the domain stays running.
func (b *Backend) Restart(ctx context.Context, ref backend.Ref) error {
	dom, _, unlock, err := b.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer unlock()
	b.stops.Delete(dom.UUID)
	return b.asItIs(ctx, dom, func(stateAnswer) error {
		return b.do(ctx, "asking "+dom.Name+" to restart", func(l *golibvirt.Libvirt) error {
			return l.DomainReboot(dom, golibvirt.DomainRebootAcpiPowerBtn)
		})
	})
}

// ForceStop implements backend.Forcer.
func (b *Backend) ForceStop(ctx context.Context, ref backend.Ref) error {
	dom, _, unlock, err := b.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer unlock()
	b.stops.Delete(dom.UUID)
	if b.cfg.graceful {
		if err := b.destroy(ctx, dom, golibvirt.DomainDestroyGraceful); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return b.destroy(ctx, dom, 0)
}

// ForceRestart implements backend.Forcer.
func (b *Backend) ForceRestart(ctx context.Context, ref backend.Ref) error {
	dom, _, unlock, err := b.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer unlock()
	b.stops.Delete(dom.UUID)
	s, err := b.state(ctx, dom)
	if err != nil {
		return err
	}
	if golibvirt.DomainState(s.state) == golibvirt.DomainCrashed {
		return api.Errorf(api.CodeConflict, "%s has crashed and can't be reset", dom.Name).WithHint("stop it, then start it")
	}
	return b.do(ctx, "resetting "+dom.Name, func(l *golibvirt.Libvirt) error { return l.DomainReset(dom, 0) })
}

// destroy switches a domain off; it succeeds if it is off.
func (b *Backend) destroy(ctx context.Context, dom golibvirt.Domain, flags golibvirt.DomainDestroyFlagsValues) error {
	err := b.do(ctx, "switching off "+dom.Name, func(l *golibvirt.Libvirt) error {
		return l.DomainDestroyFlags(dom, flags)
	})
	if isGone(err) || says(err, "is not running") {
		return nil
	}
	return err
}

// Delete implements backend.Backend: the domain and its volumes. Where the domain is gone, its volumes.
func (b *Backend) Delete(ctx context.Context, ref backend.Ref) error {
	id, ok := refUUID(ref)
	if !ok {
		return ctx.Err()
	}
	unlock, err := b.locks.lock(ctx, "machine "+uuidText(id))
	if err != nil {
		return err
	}
	defer unlock()
	at := &metadata{Home: b.env.HomeID, Token: ref.Token} // what is assumed of a machine whose domain is gone
	dom, e, err := b.lookup(ctx, ref)
	switch {
	case err == nil:
		at = e.meta
		if err := b.undefine(ctx, dom); err != nil {
			return err
		}
	case !isGone(err):
		return err
	case at.Token == "" || uuidOf(at.Token) != id:
		return nil // nothing says which volumes were its
	}
	p, err := b.poolOf(ctx, at)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, kind := range volKinds {
		if err := b.removeVolume(ctx, p, volName(at.Home, at.Token, kind)); err != nil {
			return err
		}
	}
	b.fault("libvirt.delete.volumes")
	return nil
}

// undefine switches a domain off and removes it, with all that libvirt itself keeps of it.
func (b *Backend) undefine(ctx context.Context, dom golibvirt.Domain) error {
	b.stops.Delete(dom.UUID)
	if err := b.destroy(ctx, dom, 0); err != nil {
		return err
	}
	b.fault("libvirt.delete.destroyed")
	flags := golibvirt.DomainUndefineManagedSave | golibvirt.DomainUndefineSnapshotsMetadata |
		golibvirt.DomainUndefineNvram | golibvirt.DomainUndefineCheckpointsMetadata
	err := b.do(ctx, "removing "+dom.Name, func(l *golibvirt.Libvirt) error { return l.DomainUndefineFlags(dom, flags) })
	b.known.forget(dom.UUID)
	if err != nil && !isGone(err) && !strings.Contains(err.Error(), "transient") {
		return err
	}
	b.fault("libvirt.delete.undefined")
	return nil
}
