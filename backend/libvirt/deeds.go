package libvirt

import (
	"context"
	"errors"

	golibvirt "github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// deed is what brings a domain from the state that it is in to the one that is wanted.
type deed int

const (
	nothing      deed = iota
	runIt             // it is off
	runAnew           // it has crashed: it is switched off first
	letGoOn           // it is paused
	wakeIt            // it is suspended by its own system
	awaitOff          // it is shutting down
	pressButton       // its system is asked to shut down
	switchOff         // it has no system that could be asked
	refusePaused      // somebody, or a full disk, holds it
)

// is reports whether a domain is in a state, for one of the reasons if any are given.
func (s stateAnswer) is(state golibvirt.DomainState, reasons ...int32) bool {
	if golibvirt.DomainState(s.state) != state {
		return false
	}
	for _, r := range reasons {
		if s.reason == r {
			return true
		}
	}
	return len(reasons) == 0
}

// forStart is what makes a domain run. Where libvirt itself is at work on a paused one (it starts it, saves it,
// or ends what a libvirtd that was killed had begun to start), letting it go on waits for that.
func forStart(s stateAnswer) deed {
	switch golibvirt.DomainState(s.state) {
	case golibvirt.DomainRunning, golibvirt.DomainBlocked:
		if s.is(golibvirt.DomainRunning, int32(golibvirt.DomainRunningCrashed)) {
			return runAnew
		}
		return nothing
	case golibvirt.DomainShutdown:
		return awaitOff
	case golibvirt.DomainPaused:
		switch golibvirt.DomainPausedReason(s.reason) {
		case golibvirt.DomainPausedCrashed:
			return runAnew
		case golibvirt.DomainPausedShuttingDown:
			return awaitOff
		}
		return letGoOn
	case golibvirt.DomainPmsuspended:
		return wakeIt
	case golibvirt.DomainCrashed:
		return runAnew
	}
	return runIt
}

// forStop is what ends a domain gently. Where libvirt itself is at work on a paused one, pressing the button waits
// for that.
func forStop(s stateAnswer) deed {
	switch golibvirt.DomainState(s.state) {
	case golibvirt.DomainShutoff, golibvirt.DomainShutdown:
		return nothing
	case golibvirt.DomainCrashed, golibvirt.DomainPmsuspended:
		return switchOff
	case golibvirt.DomainPaused:
		switch golibvirt.DomainPausedReason(s.reason) {
		case golibvirt.DomainPausedCrashed, golibvirt.DomainPausedWatchdog:
			return switchOff
		case golibvirt.DomainPausedShuttingDown:
			return nothing
		case golibvirt.DomainPausedStartingUp, golibvirt.DomainPausedMigration, golibvirt.DomainPausedPostcopy,
			golibvirt.DomainPausedSave,
			golibvirt.DomainPausedDump, golibvirt.DomainPausedSnapshot:
			return pressButton
		}
		return refusePaused
	}
	return pressButton
}

// looks bounds how often a change that libvirt refuses looks at the domain.
const looks = 5

// asItIs looks at a domain and lets act do what fits its state. What libvirt refuses, as the domain is not in that
// state any more, is no failure: it is looked at again, and what fits now is done. So is it where libvirt's own work
// on the domain takes longer than the half minute for which a call waits for it: a libvirtd that comes back may look
// for a qemu that long. A lock that nobody holds after that stays for ever.
func (b *Backend) asItIs(ctx context.Context, dom golibvirt.Domain, act func(now stateAnswer) error) error {
	return actAsItIs(func() (stateAnswer, error) { return b.state(ctx, dom) }, act)
}

func actAsItIs(look func() (stateAnswer, error), act func(now stateAnswer) error) error {
	now, err := look()
	if err != nil {
		return err
	}
	for try, abandoned := 1, 0; ; try++ {
		err := act(now)
		if isAbandoned(err) {
			abandoned++
		}
		if !errors.Is(err, backend.ErrConflict) || try == looks || abandoned == 2 {
			return err
		}
		again, lerr := look()
		if lerr != nil || again == now && !hasCode(err, golibvirt.ErrOperationTimeout) {
			return err
		}
		if again.is(golibvirt.DomainShutoff, int32(golibvirt.DomainShutoffMigrated)) {
			return err // it runs on another host by now: here it must not be started
		}
		now = again
	}
}
