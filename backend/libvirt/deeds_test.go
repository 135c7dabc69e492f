package libvirt

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
)

// pausedReasons are all that libvirt knows, with what they mean for a start, a stop and what is shown.
var pausedReasons = []struct {
	reason      golibvirt.DomainPausedReason
	start, stop deed
	shown       api.State
}{
	{golibvirt.DomainPausedUnknown, letGoOn, refusePaused, api.StateUnusable},
	{golibvirt.DomainPausedUser, letGoOn, refusePaused, api.StateUnusable},
	{golibvirt.DomainPausedMigration, letGoOn, pressButton, api.StateRunning},
	{golibvirt.DomainPausedSave, letGoOn, pressButton, api.StateRunning},
	{golibvirt.DomainPausedDump, letGoOn, pressButton, api.StateRunning},
	{golibvirt.DomainPausedIoerror, letGoOn, refusePaused, api.StateUnusable},
	{golibvirt.DomainPausedWatchdog, letGoOn, switchOff, api.StateUnusable},
	{golibvirt.DomainPausedFromSnapshot, letGoOn, refusePaused, api.StateUnusable},
	{golibvirt.DomainPausedShuttingDown, awaitOff, nothing, api.StateStopping},
	{golibvirt.DomainPausedSnapshot, letGoOn, pressButton, api.StateRunning},
	{golibvirt.DomainPausedCrashed, runAnew, switchOff, api.StateUnusable},
	{golibvirt.DomainPausedStartingUp, letGoOn, pressButton, api.StateStarting},
	{golibvirt.DomainPausedPostcopy, letGoOn, pressButton, api.StateRunning},
	{golibvirt.DomainPausedPostcopyFailed, letGoOn, refusePaused, api.StateUnusable},
	{golibvirt.DomainPausedAPIError, letGoOn, refusePaused, api.StateUnusable},
}

func TestPausedReasons(t *testing.T) {
	for _, c := range pausedReasons {
		s := stateAnswer{int32(golibvirt.DomainPaused), int32(c.reason)}
		shown, _ := stateOf(s.state, s.reason)
		require.Equal(t, []any{c.start, c.stop, c.shown}, []any{forStart(s), forStop(s), shown}, "reason %d", c.reason)
	}
}

// fakeDomain is a domain of which libvirt is at work: its next state comes with the next call that waits for that.
type fakeDomain struct {
	now  stateAnswer
	next []stateAnswer
	did  []deed
}

var (
	isRunning  = stateAnswer{int32(golibvirt.DomainRunning), int32(golibvirt.DomainRunningBooted)}
	isOff      = stateAnswer{int32(golibvirt.DomainShutoff), int32(golibvirt.DomainShutoffDestroyed)}
	isEnded    = stateAnswer{int32(golibvirt.DomainShutoff), int32(golibvirt.DomainShutoffDaemon)}
	isMigrated = stateAnswer{int32(golibvirt.DomainShutoff), int32(golibvirt.DomainShutoffMigrated)}
	isStarting = stateAnswer{int32(golibvirt.DomainPaused), int32(golibvirt.DomainPausedStartingUp)}
	isMoving   = stateAnswer{int32(golibvirt.DomainPaused), int32(golibvirt.DomainPausedMigration)}
	isHeld     = stateAnswer{int32(golibvirt.DomainPaused), int32(golibvirt.DomainPausedUser)}
	isSaving   = stateAnswer{int32(golibvirt.DomainPaused), int32(golibvirt.DomainPausedSave)}
	isStopping = stateAnswer{int32(golibvirt.DomainShutdown), int32(golibvirt.DomainShutdownUser)}
)

func (f *fakeDomain) look() (stateAnswer, error) { return f.now, nil }

// perform does as libvirt does: it waits for its own work, and refuses what does not fit then.
func (f *fakeDomain) perform(what deed) error {
	f.did = append(f.did, what)
	if len(f.next) > 0 {
		f.now, f.next = f.next[0], f.next[1:]
	}
	refused := func(words string) error {
		return (&Backend{}).explain("trying", golibvirt.Error{Code: uint32(golibvirt.ErrOperationInvalid),
			Message: "Requested operation is not valid: " + words})
	}
	switch off := f.now.is(golibvirt.DomainShutoff); {
	case what == nothing:
	case what == runIt && !off, what == letGoOn && f.now.is(golibvirt.DomainRunning):
		return refused("domain is already running")
	case what == letGoOn && off, what == pressButton && !f.now.is(golibvirt.DomainRunning):
		return refused("domain is not running")
	case what == pressButton:
		f.now = isStopping
	case what == awaitOff, what == refusePaused:
		return api.Errorf(api.CodeConflict, "no")
	default:
		f.now = isRunning
	}
	return nil
}

// TestActsAsItIs changes what is another domain by the time that libvirt gets to it.
func TestActsAsItIs(t *testing.T) {
	for name, c := range map[string]struct {
		from stateAnswer
		next []stateAnswer
		plan func(stateAnswer) deed
		did  []deed
		ends stateAnswer
	}{
		"start: it runs":   {isRunning, nil, forStart, []deed{nothing}, isRunning},
		"start: it is off": {isOff, nil, forStart, []deed{runIt}, isRunning},
		"start: another's start comes to its end": {isStarting, []stateAnswer{isRunning}, forStart,
			[]deed{letGoOn, nothing}, isRunning},
		"start: a start that was cut off is ended": {isStarting, []stateAnswer{isEnded}, forStart, []deed{letGoOn, runIt},
			isRunning},
		"start: a start that was cut off stays": {isStarting, nil, forStart, []deed{letGoOn}, isRunning},
		"start: another was faster": {isOff, []stateAnswer{isStarting, isRunning}, forStart,
			[]deed{runIt, letGoOn, nothing}, isRunning},
		"start: a user has paused it": {isHeld, nil, forStart, []deed{letGoOn}, isRunning},
		"start: it was being saved": {isSaving, []stateAnswer{isOff}, forStart, []deed{letGoOn, runIt},
			isRunning},
		"start: its shutting down comes to its end": {isStopping, []stateAnswer{isOff}, forStart, []deed{awaitOff, runIt},
			isRunning},
		"start: it moves to another host": {isMoving, []stateAnswer{isMigrated}, forStart, []deed{letGoOn},
			isMigrated},
		"stop: it is off": {isOff, nil, forStop, []deed{nothing}, isOff},
		"stop: a start comes to its end": {isStarting, []stateAnswer{isRunning}, forStop, []deed{pressButton},
			isStopping},
		"stop: a start that was cut off is ended": {isStarting, []stateAnswer{isEnded}, forStop,
			[]deed{pressButton, nothing}, isEnded},
		"stop: it goes off by itself": {isRunning, []stateAnswer{isOff}, forStop, []deed{pressButton, nothing},
			isOff},
		"stop: libvirtd left it half saved": {isSaving, nil, forStop, []deed{pressButton}, isSaving},
	} {
		f := &fakeDomain{now: c.from, next: slices.Clone(c.next)}
		err := actAsItIs(f.look, func(now stateAnswer) error { return f.perform(c.plan(now)) })
		require.Equal(t, []any{c.did, c.ends}, []any{f.did, f.now}, name)
		require.Equal(t, c.ends == isSaving || c.ends == isMigrated, err != nil, "%s: %v", name, err)
	}

	// What does not change is refused once, what never rests not for ever, and other errors are not asked about.
	f := &fakeDomain{now: isStopping}
	require.Error(t, actAsItIs(f.look, func(now stateAnswer) error { return f.perform(forStart(now)) }))
	require.Len(t, f.did, 1)
	calls := 0
	restless := func() (stateAnswer, error) { calls++; return stateAnswer{int32(calls), 0}, nil }
	require.Error(t, actAsItIs(restless, func(stateAnswer) error { return f.perform(awaitOff) }))
	require.Equal(t, looks, calls)
	calls = 0
	require.ErrorIs(t, actAsItIs(restless, func(stateAnswer) error { return context.Canceled }), context.Canceled)
	require.Equal(t, 1, calls)
	// libvirt's own work may take longer than a call waits for it. A lock that nobody holds is waited for once more.
	for holder, waits := range map[string]int{" (held by monitor=remoteDispatchDomainCreate)": 4, "": 1} {
		for _, busy := range []int{waits, waits + 1} {
			f = &fakeDomain{now: isStarting}
			err := actAsItIs(f.look, func(now stateAnswer) error {
				if busy--; busy >= 0 {
					return (&Backend{}).explain("trying", golibvirt.Error{Code: uint32(golibvirt.ErrOperationTimeout),
						Message: "Timed out during operation: cannot acquire state change lock" + holder})
				}
				return f.perform(forStart(now))
			})
			if busy < 0 {
				require.NoError(t, err)
				require.Equal(t, isRunning, f.now)
				continue
			}
			require.ErrorIs(t, err, backend.ErrConflict)
			require.Equal(t, holder == "", strings.Contains(api.AsError(err).Hint, "start libvirtd again"))
		}
	}
	lost := errors.New("lost")
	require.ErrorIs(t, actAsItIs(func() (stateAnswer, error) { return isOff, lost }, nil), lost)
}
