package libvirt

import (
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/machine/cloudinit"
)

// stateOf says in Berth's words what libvirt says of a domain.
func stateOf(state, reason int32) (api.State, string) {
	switch golibvirt.DomainState(state) {
	case golibvirt.DomainRunning:
		switch golibvirt.DomainRunningReason(reason) {
		case golibvirt.DomainRunningCrashed:
			return api.StateUnusable, "its system has crashed"
		case golibvirt.DomainRunningPostcopy, golibvirt.DomainRunningMigrated:
			return api.StateRunning, "libvirt has moved it to this host"
		}
		return api.StateRunning, ""
	case golibvirt.DomainBlocked:
		return api.StateRunning, ""
	case golibvirt.DomainPaused:
		switch golibvirt.DomainPausedReason(reason) {
		case golibvirt.DomainPausedIoerror:
			return api.StateUnusable, "paused by an error of its disk: its disk or pool is full; free space on the host, then start it: it goes on"
		case golibvirt.DomainPausedWatchdog:
			return api.StateUnusable, "paused by its watchdog: its system hangs"
		case golibvirt.DomainPausedCrashed:
			return api.StateUnusable, "its system has crashed"
		case golibvirt.DomainPausedStartingUp:
			return api.StateStarting, "libvirt makes it ready"
		case golibvirt.DomainPausedShuttingDown:
			return api.StateStopping, ""
		case golibvirt.DomainPausedSnapshot, golibvirt.DomainPausedSave, golibvirt.DomainPausedDump:
			return api.StateRunning, "held for a moment while libvirt saves its state"
		case golibvirt.DomainPausedMigration, golibvirt.DomainPausedPostcopy:
			return api.StateRunning, "libvirt moves it to another host"
		}
		return api.StateUnusable, "paused in libvirt; start it: it goes on"
	case golibvirt.DomainShutdown:
		return api.StateStopping, ""
	case golibvirt.DomainShutoff:
		switch golibvirt.DomainShutoffReason(reason) {
		case golibvirt.DomainShutoffCrashed:
			return api.StateStopped, "its system, or qemu, has crashed"
		case golibvirt.DomainShutoffFailed:
			return api.StateStopped, "libvirt could not start it"
		case golibvirt.DomainShutoffMigrated:
			return api.StateStopped, "libvirt has moved it to another host"
		case golibvirt.DomainShutoffDaemon:
			return api.StateStopped, "libvirtd was cut off in the middle of a change of it, and switched it off when it came back"
		case golibvirt.DomainShutoffSaved:
			return api.StateStopped, "its memory is saved; a start goes on from there"
		}
		return api.StateStopped, ""
	case golibvirt.DomainCrashed:
		if golibvirt.DomainCrashedReason(reason) == golibvirt.DomainCrashedPanicked {
			return api.StateUnusable, "its system's kernel panicked; the console shows where"
		}
		return api.StateUnusable, "its system has crashed"
	case golibvirt.DomainPmsuspended:
		return api.StateStopped, "suspended by its own system; a start wakes it"
	}
	return api.StateUnknown, "libvirt gives it no state"
}

// up reports whether a domain in this state has a system that could be reached.
func up(s api.State) bool { return s == api.StateRunning }

// machine puts together what is known of a machine.
func (b *Backend) machine(d golibvirt.Domain, e *entry, state, reason int32, addr string) backend.Machine {
	m := e.meta
	st, why := stateOf(state, reason)
	out := backend.Machine{
		ID: uuidText(d.UUID), Name: d.Name, Instance: m.Name,
		Token: m.Token, State: st, Reason: why, Size: m.Size, Image: m.Image,
		Owner: m.tags()[backend.TagOwner],
		User:  m.User, SSHEnabled: m.SSH, GPUs: m.gpus(), VCPUs: e.dom.VCPU.Value, MemoryBytes: e.dom.memoryBytes(),
		DiskBytes: m.Disk,
		Tags:      m.tags(), Capabilities: capabilities(),
	}
	if e.dom.VCPU.Current > 0 {
		out.VCPUs = e.dom.VCPU.Current
	}
	if t, err := time.Parse(time.RFC3339, m.Created); err == nil {
		out.CreatedAt = t
	}
	if len(m.GPUs) > 0 {
		out.Notes = append(out.Notes, "Its GPUs are passed through: they are taken while it runs, and free for others while it is stopped.")
		out.Capabilities.Why["snapshots"] = "of a machine with a GPU only the disk can be kept, while it is stopped"
	}
	if !up(st) {
		return out
	}
	t := &backend.SSHTarget{User: m.User, Made: true}
	if m.Agent {
		t.Agent = cloudinit.AgentSocket
	}
	if m.Port != 0 {
		t.Host, t.Port = "127.0.0.1", m.Port
	} else {
		t.Host, t.Port = addr, 22
	}
	if t.Host == "" {
		out.Reason = or(out.Reason, "it has no address yet")
		return out
	}
	// A bridge puts the machine into the network of its host; all else is reached from there alone.
	if n, err := parseNetwork(m.Network); err != nil || n.kind != netBridge {
		t.Via = b.cfg.uri.via()
	}
	out.Address, out.Port, out.Line = t.Host, t.Port, backend.Line{SSH: t}
	return out
}
