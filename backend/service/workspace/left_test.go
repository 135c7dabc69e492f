package workspace

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/mem"
)

// stuckLines can't remove what is on a machine, as long as stuck is set.
type stuckLines struct {
	*testLines
	stuck   *backend.Left
	shared  *backend.Shared // what stays because others use it
	removed []string
}

func (l *stuckLines) Forget(_ context.Context, in backend.Endpoint, uninstall string) (*backend.Shared, error) {
	if uninstall != "" && l.stuck != nil {
		return nil, l.stuck
	}
	if uninstall != "" {
		l.removed = append(l.removed, in.ID)
		return l.shared, nil
	}
	return nil, nil
}

// adoptedOver is a workspace that has taken in the machine box, which it reaches by lines.
func adoptedOver(t *testing.T, lines *stuckLines) (e *env, w *Workspace, done func()) {
	t.Helper()
	e = newEnv(t)
	lines.testLines = e.lines
	ssh := adopter{mem.New()}
	ssh.Line = backend.Line{SSH: &backend.SSHTarget{Host: "192.0.2.1"}}
	e.opts = func(o *Options) {
		o.Dialer = lines
		o.Backends["ssh"] = ssh
	}
	w, done = e.open()
	op, err := w.Adopt(e.ctx(), api.AdoptRequest{Name: "box", Target: "me@192.0.2.1"})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	return e, w, done
}

// TestWhatStaysForAnOlderBerth: it is said what stays, until when the older one counts, and what removes it by hand;
// where a home stands there that says who it is, nothing is named that would end what is that one's.
func TestWhatStaysForAnOlderBerth(t *testing.T) {
	seen := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	older := api.HomeUse{SeenAt: seen}
	bob := api.HomeUse{Home: api.Home{ID: "b", Name: "bob@desk"}, SeenAt: seen}
	for name, others := range map[string][]api.HomeUse{"an older one": {older}, "a named one": {bob}, "both": {older, bob}} {
		t.Run(name, func(t *testing.T) {
			shared := &backend.Shared{Others: others, Path: "/home/me/.b/agent", Command: "/home/me/.b/berth-agent uninstall --end"}
			e, w, _ := adoptedOver(t, &stuckLines{shared: shared})
			require.Equal(t, "1 instance, 0 operations under way", w.Doctor.Check(e.ctx())[0].Message)
			op, err := w.Action(e.ctx(), "box", opDelete, api.ActionRequest{})
			require.NoError(t, err)
			op = ended(t, w, op)
			require.Equal(t, api.OpSucceeded, op.State)
			require.Len(t, op.Warnings, 1)
			require.Contains(t, op.Warnings[0], "the agent stays on box, for ")
			for _, part := range []string{shared.Path, shared.Command, "counts until 2026-03-08"} {
				if name == "an older one" {
					require.Contains(t, op.Warnings[0], part)
				} else {
					require.NotContains(t, op.Warnings[0], part)
				}
			}
		})
	}
}

// TestWhatCanNotBeRemovedIsKeptInMind: forgetting a machine fails while something of Berth can't be removed from it,
// and can be said again. Forced, doctor tells what stays where, also after a restart of the daemon.
func TestWhatCanNotBeRemovedIsKeptInMind(t *testing.T) {
	lines := &stuckLines{stuck: &backend.Left{Host: "box (me@192.0.2.1)", Path: "/home/me/.b/agent",
		Command: "/home/me/.b/berth-agent uninstall --end", Err: api.Errorf(api.CodeUnreachable, "no answer within 10s")}}
	e, w, done := adoptedOver(t, lines)
	in, err := w.Instance(e.ctx(), "box")
	require.NoError(t, err)

	remove := func(force bool) api.Operation {
		op, err := w.Action(e.ctx(), "box", opDelete, api.ActionRequest{Force: force})
		require.NoError(t, err)
		return ended(t, w, op)
	}
	for range 2 {
		op := remove(false)
		require.Equal(t, api.OpFailed, op.State)
		require.Equal(t, api.CodeUnreachable, op.Error.Code)
		for _, part := range []string{lines.stuck.Host, lines.stuck.Path, "no answer within 10s"} {
			require.Contains(t, op.Error.Message, part)
		}
		require.Contains(t, op.Error.Hint, lines.stuck.Command)
		require.Contains(t, op.Error.Hint, "berth rm --force box")
		_, err = w.Instance(e.ctx(), "box")
		require.NoError(t, err, "it stays")
		require.Empty(t, leftChecks(t, w))
	}
	op := remove(true)
	require.Equal(t, api.OpSucceeded, op.State)
	require.Contains(t, strings.Join(op.Warnings, "\n"), lines.stuck.Path)
	_, err = w.Instance(e.ctx(), "box")
	require.ErrorIs(t, err, backend.ErrNotFound)

	done()
	w, _ = e.open()
	found := leftChecks(t, w)
	require.Len(t, found, 1)
	for _, part := range []string{"box", lines.stuck.Host, lines.stuck.Path, "no answer within 10s"} {
		require.Contains(t, found[0].Message, part)
	}
	require.Contains(t, found[0].Fix, lines.stuck.Command)
	id := found[0].OrphanID
	err = w.Doctor.RemoveOrphan(e.ctx(), id, false)
	require.ErrorIs(t, err, backend.ErrUnreachable)
	require.Contains(t, api.AsError(err).Hint, "--force")
	lines.stuck = nil
	require.NoError(t, w.Doctor.RemoveOrphan(e.ctx(), id, false))
	require.Equal(t, []string{in.ID}, lines.removed)
	require.Empty(t, leftChecks(t, w))
	require.ErrorIs(t, w.Doctor.RemoveOrphan(e.ctx(), id, false), backend.ErrNotFound)
}

// TestAMachineThatComesBackIsKeptInMindNoLonger, nor is one that somebody cleaned by hand.
func TestAMachineThatComesBackIsKeptInMindNoLonger(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	for _, id := range []string{"a", "b"} {
		require.NoError(t, w.leave(e.ctx(), leftEntry{ID: "i-" + id, Name: id, ProviderID: "me@" + id, Host: id}))
	}
	require.Len(t, leftChecks(t, w), 2)
	require.NoError(t, w.cameBack(e.ctx(), "me@a"))
	found := leftChecks(t, w)
	require.Len(t, found, 1)
	require.Equal(t, "b", found[0].Name)
	require.NoError(t, w.Doctor.RemoveOrphan(e.ctx(), found[0].OrphanID, true))
	require.Empty(t, leftChecks(t, w))
}

func leftChecks(t *testing.T, w *Workspace) (out []api.Check) {
	t.Helper()
	for _, c := range w.Doctor.Check(t.Context()) {
		if strings.HasPrefix(c.OrphanID, leftMark) {
			out = append(out, c)
		}
	}
	return out
}
