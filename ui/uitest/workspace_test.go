package uitest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

func open(t *testing.T, list ...api.Instance) *Workspace {
	w := New(func() time.Time { return Epoch }, list...)
	t.Cleanup(w.Close)
	return w
}

func (w *Workspace) state(t *testing.T, name string) api.State {
	t.Helper()
	in, err := w.real.Instance(asAda(), name)
	require.NoError(t, err)
	return in.State
}

// TestOperationsAreHeld: each by itself.
func TestOperationsAreHeld(t *testing.T) {
	w := open(t, Cluster(Epoch, 6, 1)...)
	for i := range 6 {
		_, err := w.Action(t.Context(), fmt.Sprintf("h100-%02d", i+1), "stop", api.ActionRequest{})
		require.NoError(t, err)
		for range 2 { // its jobs, its provider
			require.True(t, w.Advance(fmt.Sprintf("op-%d", i+1)))
		}
	}
	for _, op := range w.real.Operations() {
		require.Equal(t, 2, running(&op), "it waits for the machine")
	}
	require.False(t, w.Advance("op-1"))
	w.Finish("op-2")
	w.FailOp("op-3", api.Errorf(api.CodeFailed, "it does not stop"))
	const stopped, stopping = api.StateStopped, api.StateStopping
	// of the third it was looked what it is
	for i, want := range []api.State{stopped, stopped, stopped, stopping, stopping} {
		require.Equal(t, want, w.state(t, fmt.Sprintf("h100-%02d", i+1)), i+1)
	}
	op, err := w.real.Operation(t.Context(), w.operation("op-3"))
	require.NoError(t, err)
	require.Equal(t, "it does not stop", op.Error.Message)
	// The end of one is told before it leaves the list of those under way.
	require.Eventually(t, func() bool { return len(w.real.Operations()) == 3 }, 10*time.Second, time.Millisecond)

	// A delete ends what is held.
	_, err = w.Action(t.Context(), "h100-04", "delete", api.ActionRequest{})
	require.NoError(t, err)
	w.Finish("op-7")
	_, err = w.real.Instance(asAda(), "h100-04")
	require.ErrorIs(t, err, &api.Error{Code: api.CodeNotFound})
}

// TestTheFleetBeginsAsItIsGiven holds what the service shows against the documents that it was given.
func TestTheFleetBeginsAsItIsGiven(t *testing.T) {
	for name, list := range map[string][]api.Instance{"small": Small(Epoch), "setting up": settingUp(Small(Epoch)),
		"many": Many(Epoch, 50)} {
		w := open(t, list...)
		for _, want := range list {
			got, err := w.real.Instance(asAda(), want.ID)
			require.NoError(t, err)
			require.NotNil(t, got.Tags)
			want.Tags, got.Tags = nil, nil
			if !want.Mine {
				want.Denied = api.Needs(api.ActionAccess)
			}
			if want.State == api.StateCreateFailed { // the whole error
				want.StateReason = want.Operation.Error.Message
			}
			if op := want.Operation; op != nil {
				require.Equal(t, op.State, got.Operation.State)
				require.Equal(t, op.EndedAt, got.Operation.EndedAt)
				require.Len(t, got.Operation.Steps, len(op.Steps), "%s %s: no step that the service doesn't know", name, want.Name)
				for i, s := range op.Steps {
					require.Equal(t, s.Title, got.Operation.Steps[i].Title)
					require.Equal(t, s.State, got.Operation.Steps[i].State)
				}
			}
			if want.CostTodayUSD != nil {
				require.InDelta(t, *want.CostTodayUSD, *got.CostTodayUSD, 0.01)
			}
			want.Operation, got.Operation, want.CostTodayUSD, got.CostTodayUSD = nil, nil, nil, nil
			require.Equal(t, want, got, name)
		}
	}
}

// TestWhatAnotherSays: a provider that says something else, a machine that is found, a client that deletes.
func TestWhatAnotherSays(t *testing.T) {
	list := Small(Epoch)
	w := open(t, list...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan api.Change, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- w.Watch(ctx, func(c api.Change) error { seen <- c; return nil })
	}()
	require.Len(t, (<-seen).Snapshot, len(list))
	in := list[1]
	in.State = api.StateStopped
	w.Put(in)
	require.Equal(t, api.StateStopped, w.state(t, "notebook"))
	in.ID, in.Name, in.State = "new", "newborn", api.StateRunning
	w.Put(in)
	require.Equal(t, api.StateRunning, w.state(t, "newborn"))
	w.Remove("new")
	_, err := w.real.Instance(asAda(), "newborn")
	require.Error(t, err)
	w.Emit(api.Event{Message: "by hand"})
	for c := range seen {
		if c.Event != nil && c.Event.Message == "by hand" {
			break
		}
	}
	w.Cut()
	require.NoError(t, <-ended)
}
