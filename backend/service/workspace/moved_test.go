package workspace

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/mem"
	"berth/backend/service/store"
)

// TestProfileMovesUnderAnOperation: what the caller's files say changes while a create is under way. Nothing is made in
// the other account.
func TestProfileMovesUnderAnOperation(t *testing.T) {
	w := newWorld(t, newLines(t), false)
	opts := w.env.opts
	w.env.opts = func(o *Options) {
		opts(o)
		move := sync.OnceFunc(func() { mem.Move(w.mem, "a", mem.Account{ID: "333"}) })
		o.Fault = func(point string) {
			if point == "create.prepare.after" {
				move()
			}
		}
	}
	a, _ := w.start()
	op, err := w.opened.Create(a.ctx(w.opened), api.CreateRequest{Name: "a-1"})
	require.NoError(t, err)
	op = ended(t, w.opened, op)
	require.Equal(t, api.OpFailed, op.State)
	require.ErrorContains(t, op.Error, "nothing was done")
	require.Zero(t, w.mem.Len(), "nothing is made in another account than the instance's")
}

// TestAccountThatIsLearned of an older record is the one in which its machine was found, not the one of a minute ago.
func TestAccountThatIsLearned(t *testing.T) {
	w := newWorld(t, newLines(t), false)
	a, b := w.start()
	w.made(a, "a-1") // it is known to which account a signs in
	in := w.made(b, "b-1")
	require.NoError(t, w.opened.keep(t.Context(), in.ID, func(rec *store.Instance) { rec.Account = "" }))
	mem.Move(w.mem, "a", mem.Account{ID: "222"})
	_, err := w.opened.Reconciler.Refresh(a.ctx(w.opened), "b-1")
	require.NoError(t, err)
	require.Equal(t, "222", mustRecord(t, w.opened, "b-1").Account)
}
