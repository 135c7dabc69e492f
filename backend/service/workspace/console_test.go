package workspace

import (
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/service/store"
)

// TestConsoleOfAnother: who starts another's instance, whose agent then does not answer, is not told what is on its
// console; nor are its events.
func TestConsoleOfAnother(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	e.create(w, "vision")
	for owner, tells := range map[string]bool{"bob": false, "me": true} {
		rec := mustRecord(t, w, "vision")
		e.lines.mu.Lock()
		e.lines.err = nil
		e.lines.mu.Unlock()
		require.NoError(t, w.keep(e.ctx(), rec.ID, func(r *store.Instance) { r.AssignedTo = owner }))
		op, err := w.Action(e.ctx(), "vision", "stop", api.ActionRequest{})
		require.NoError(t, err)
		ended(t, w, op)
		e.lines.mu.Lock()
		e.lines.err = api.Errorf(api.CodeUnreachable, "no agent")
		e.lines.mu.Unlock()
		op, err = w.Action(e.ctx(), "vision", "start", api.ActionRequest{})
		require.NoError(t, err)
		op = ended(t, w, op)
		require.Equal(t, api.OpFailed, op.State)
		if tells {
			require.ErrorContains(t, op.Error, "booted vision")
		} else {
			require.NotContains(t, op.Error.Error(), "booted vision")
		}
	}
}
