package workspace

import (
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
)

// TestAnotherRequestsID: who repeats the id of another request is told so. He sees nothing of it, and does not take it
// for done.
func TestAnotherRequestsID(t *testing.T) {
	e := newEnv(t)
	e.opts = func(o *Options) {
		o.Policy = func(p backend.Principal, _ api.Action, in *api.Instance) bool {
			return in == nil || p.Kind == backend.PrincipalSystem || in.Name == p.ID
		}
	}
	w, _ := e.open()
	ops := map[string]api.Operation{}
	for _, who := range []string{"left", "right"} {
		op, err := w.Create(as(who), api.CreateRequest{Name: who, RequestID: "op-" + who})
		require.NoError(t, err)
		ops[who] = ended(t, w, op)
	}
	again, err := w.Create(as("left"), api.CreateRequest{Name: "LEFT", RequestID: "op-left"})
	require.NoError(t, err)
	require.Equal(t, ops["left"].ID, again.ID)
	for _, f := range []func() (api.Operation, error){
		func() (api.Operation, error) {
			return w.Setups.Begin(as("left"), "left", api.SetupRequest{RequestID: "op-right", Setup: "true"})
		},
		func() (api.Operation, error) {
			return w.Setups.Begin(as("left"), "left", api.SetupRequest{RequestID: "op-left", Setup: "true"})
		},
		func() (api.Operation, error) {
			return w.Create(as("left"), api.CreateRequest{Name: "right", RequestID: "op-right"})
		},
		func() (api.Operation, error) {
			return w.Create(as("left"), api.CreateRequest{Name: "third", RequestID: "op-left"})
		},
		func() (api.Operation, error) {
			return w.Snapshots.Take(as("left"), "left", api.SnapshotRequest{Name: "s", RequestID: "op-left"})
		},
	} {
		op, err := f()
		require.Equal(t, api.CodeConflict, api.AsError(err).Code, "%v", err)
		require.Empty(t, op.ID)
	}
}
