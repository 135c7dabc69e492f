package workspace

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
)

// TestCopiedTags: a machine that somebody made like one of ours, with its tags, does not take its place when ours is
// gone, and so become ours.
func TestCopiedTags(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	e.create(w, "vision")
	rec := mustRecord(t, w, "vision")
	require.NoError(t, e.mem.Delete(e.ctx(), ref(&rec)))
	require.Eventually(t, func() bool { return e.mem.Len() == 0 }, time.Minute, time.Millisecond)
	e.mem.Add(backend.Machine{ID: "m-77", Name: "copy", Token: rec.Token, State: api.StateRunning, Owner: "bob",
		AssignedTo: "bob", Tags: rec.Tags, Line: rec.Line, CreatedAt: rec.CreatedAt, Capabilities: rec.Capabilities})
	w.Reconciler.Reconcile(e.ctx())
	now := mustRecord(t, w, "vision")
	require.Equal(t, rec.ProviderID, now.ProviderID)
	require.Equal(t, api.StateUnusable, now.State, "it is gone")
	found := mustRecord(t, w, "copy").Instance
	require.Error(t, w.May(e.ctx(), api.ActionAccess, &found))
}
