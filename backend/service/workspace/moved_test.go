package workspace

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/mem"
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
