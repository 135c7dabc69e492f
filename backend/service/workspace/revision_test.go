package workspace

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/service/store"
	"berth/backend/service/store/storetest"
	"berth/gpu"
)

// TestAFeaturesChangeWritesItsDocumentOnly: what is muted does not rewrite the instance, nor its state what is muted.
func TestAFeaturesChangeWritesItsDocumentOnly(t *testing.T) {
	e := newEnv(t)
	w, done := e.open()
	in := e.create(w, "vision")
	was, err := w.Record("vision")
	require.NoError(t, err)
	require.NoError(t, w.Attend(e.ctx(), "vision", gpu.Finding{Rule: "hot", ID: "hot/0"},
		api.AttentionRequest{MuteSeconds: 60, Acknowledge: true}))
	require.NoError(t, w.KeepTold(e.ctx(), in.ID, map[string]time.Time{"hot/0": time.Now()}))
	muted, err := w.Record("vision")
	require.NoError(t, err)
	require.Equal(t, was.Revision, muted.Revision)
	require.EqualValues(t, 2, muted.Attention.Revision)
	require.Zero(t, muted.Idle.Revision)
	op, err := w.Action(e.ctx(), "vision", opStop, api.ActionRequest{})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	stopped, err := w.Record("vision")
	require.NoError(t, err)
	require.Greater(t, stopped.Revision, muted.Revision)
	require.EqualValues(t, 2, stopped.Attention.Revision)
	has, err := store.Read(t.Context(), w.opts.Store, in.ID)
	require.NoError(t, err)
	require.Equal(t, stopped.Revision, has.Revision)
	require.Equal(t, stopped.Attention.Revision, has.Attention.Revision)
	done()
	w, _ = e.open()
	again, err := w.Record("vision")
	require.NoError(t, err)
	require.Len(t, again.Muted, 1)
	require.Len(t, again.Acknowledged, 1)
	require.Len(t, again.Told, 1)
}

// TestAnotherWroteMeanwhile: what somebody else has written is not overwritten. Who asked is told so and succeeds with
// the next try, which sees it; what must be written is written upon it.
func TestAnotherWroteMeanwhile(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	in := e.create(w, "vision")
	other := func(change func(*store.Instance)) {
		t.Helper()
		was, err := store.Read(t.Context(), w.opts.Store, in.ID)
		require.NoError(t, err)
		now := was
		change(&now)
		c := &store.Change{}
		require.NoError(t, c.Put(&was, &now))
		require.NoError(t, w.opts.Store.Apply(t.Context(), c))
	}
	other(func(rec *store.Instance) { rec.Owner = "grace" })
	_, err := w.Action(e.ctx(), "vision", opStop, api.ActionRequest{})
	require.ErrorIs(t, err, &api.Error{Code: api.CodeConflict})
	require.Zero(t, e.mem.Calls()["Stop"])
	now, err := w.Instance(e.ctx(), "vision")
	require.NoError(t, err)
	require.Equal(t, "grace", now.Owner)
	require.Nil(t, now.Operation)
	op, err := w.Action(e.ctx(), "vision", opStop, api.ActionRequest{})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, w, op).State)

	other(func(rec *store.Instance) { rec.Told = map[string]time.Time{"hot/0": time.Now()} })
	require.NoError(t, w.Attend(e.ctx(), "vision", gpu.Finding{Rule: "hot", ID: "hot/0"},
		api.AttentionRequest{MuteSeconds: 60}))
	rec, err := w.Record("vision")
	require.NoError(t, err)
	require.Len(t, rec.Told, 1)
	require.Len(t, rec.Muted, 1)
	require.EqualValues(t, 2, rec.Attention.Revision)
}

// TestEachWriteFails fails at each write of an instance's life, before it is written and after it: each operation is
// begun and ended once, and nothing is made twice or left.
func TestEachWriteFails(t *testing.T) {
	t.Parallel()
	writes := lifeFailing(t, 0, false)
	require.Greater(t, writes, int64(20))
	for _, written := range []bool{false, true} {
		for at := range writes {
			t.Run(fmt.Sprintf("write %d, written %t", at+1, written), func(t *testing.T) {
				t.Parallel()
				lifeFailing(t, at+1, written)
			})
		}
	}
}

// lifeFailing makes, stops, starts and deletes an instance over a store that fails at one write, or at none (0), and
// checks what is left. It returns how many writes there were.
func lifeFailing(t *testing.T, at int64, written bool) (writes int64) {
	e := newEnv(t)
	var armed atomic.Bool
	var n atomic.Int64
	e.opts = func(o *Options) {
		o.Store = &storetest.Failing{Store: o.Store, Fails: func(int, []*store.Change) storetest.Fault {
			if armed.Load() && n.Add(1) == at {
				return storetest.Fault{Err: errors.New("the answer is lost"), Written: written}
			}
			return storetest.Fault{}
		}}
	}
	w, done := e.open()
	armed.Store(true)
	var ops []api.Operation
	do := func(begin func() (api.Operation, error)) {
		t.Helper()
		op, err := begin()
		if err != nil && !written {
			op, err = begin()
		}
		require.NoError(t, err)
		op = ended(t, w, op)
		require.Equal(t, api.OpSucceeded, op.State, "%v", op.Error)
		ops = append(ops, op)
	}
	do(func() (api.Operation, error) {
		return w.Create(e.ctx(), api.CreateRequest{Name: "vision", Setup: "true"})
	})
	for _, kind := range []string{opStop, opStart, opDelete} {
		do(func() (api.Operation, error) { return w.Action(e.ctx(), "vision", kind, api.ActionRequest{}) })
	}
	require.Zero(t, w.Len())
	require.Zero(t, w.Busy())
	require.Equal(t, 1, e.mem.Calls()["made"])
	require.Zero(t, e.mem.Len())
	evs, err := w.Events(t.Context(), api.EventOptions{})
	require.NoError(t, err)
	count := map[string]int{}
	for _, ev := range evs {
		count[ev.OperationID+" "+ev.Kind]++
	}
	for _, op := range ops {
		require.Equal(t, 1, count[op.ID+" operation.begin"], op.Kind)
		require.Equal(t, 1, count[op.ID+" operation.done"], op.Kind)
	}
	ins, err := w.opts.Store.Instances(t.Context())
	require.NoError(t, err)
	require.Empty(t, ins)
	left, err := w.opts.Store.Unfinished(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)
	done()
	return n.Load()
}
