package workspace

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
	"berth/backend/service/store/storetest"
)

// openSlow opens a workspace on a store that can be held.
func (e *env) openSlow() (*Workspace, *storetest.Slow) {
	return e.openFull(func(*store.Change) bool { return false })
}

// openFull is openSlow, on a disk that is full for the changes for which refuse is true.
func (e *env) openFull(refuse func(c *store.Change) bool) (w *Workspace, s *storetest.Slow) {
	e.opts = func(o *Options) {
		s = storetest.NewSlow(storetest.Refusing(o.Store, refuse))
		o.Store = s
	}
	w, _ = e.open()
	return w, s
}

// fleet puts n running instances, vision-0 and so on, into the store and at the provider, before a workspace is opened.
func (e *env) fleet(n int) {
	e.t.Helper()
	st, err := store.Open(e.t.Context(), e.path)
	require.NoError(e.t, err)
	c := &store.Change{}
	for i := range n {
		m := backend.Machine{ID: fmt.Sprintf("m-%d", i+1), Name: fmt.Sprintf("vision-%d", i), Token: fmt.Sprintf("op-%d", i),
			State: api.StateRunning, Owner: "me", Line: e.mem.Line, Capabilities: e.mem.Info().Capabilities}
		e.mem.Add(m)
		c.Instances = append(c.Instances, store.Instance{Token: m.Token, Line: m.Line, Instance: api.Instance{
			ID: fmt.Sprintf("i-%d", i), Name: m.Name, Backend: "mem", ProviderID: m.ID, State: m.State, Owner: m.Owner,
			Capabilities: m.Capabilities, CreatedAt: time.Now().UTC()}})
	}
	require.NoError(e.t, st.Apply(e.t.Context(), c))
	require.NoError(e.t, st.Close())
}

// TestReadersNeverWaitForTheDisk: while a transaction hangs, what is in memory is read, nothing that is not stored is
// shown, and nobody decides about an instance of which something is being written.
func TestReadersNeverWaitForTheDisk(t *testing.T) {
	e := newEnv(t)
	w, s := e.openSlow()
	in := e.create(w, "vision")
	release := s.Hold()
	defer release()
	stop := make(chan api.Operation, 1)
	go func() {
		op, err := w.Action(e.ctx(), "vision", opStop, api.ActionRequest{})
		if err != nil {
			t.Error(err)
		}
		stop <- op
	}()
	<-s.Waiting
	require.Len(t, w.Instances(context.Background(), api.ListOptions{}), 1)
	now, err := w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, api.StateRunning, now.State, "the stop is not stored")
	require.Nil(t, now.Operation)
	require.Empty(t, w.Operations())
	require.Zero(t, w.Busy())
	_, err = w.Record(in.ID)
	require.NoError(t, err)
	sub, all := w.Subscribe()
	defer sub.Close()
	require.Len(t, all, 1)
	require.NoError(t, w.CheckNewName("another"))
	w.LineState(in.ID, true, nil)
	require.Zero(t, e.mem.Calls()["Stop"], "written before the provider is called")

	begun := make(chan struct{})
	second := make(chan error, 1)
	go func() {
		close(begun)
		_, err := w.Action(e.ctx(), "vision", opRestart, api.ActionRequest{})
		second <- err
	}()
	<-begun
	release()
	op := <-stop
	require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	require.ErrorIs(t, <-second, &api.Error{Code: api.CodeConflict},
		"the stop is under way, or has ended: there is nothing to restart")
}

// TestTwoCreatesAtOnce: while the one is on its way into the store the other waits, and then sees it; where it fails
// the name is free.
func TestTwoCreatesAtOnce(t *testing.T) {
	for _, c := range []struct {
		name     string
		requests []string
		fails    bool // the first write
		made     int
	}{
		{"two requests", []string{"", ""}, false, 1},
		{"one request, repeated", []string{"op-mine", "op-mine"}, false, 1},
		{"the first can't be written", []string{"", ""}, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEnv(t)
			var fails atomic.Bool
			w, s := e.openFull(func(*store.Change) bool { return fails.CompareAndSwap(true, false) })
			w.Catalogue.Backends(e.ctx()) // who asks is known, and kept
			fails.Store(c.fails)
			release := s.Hold()
			defer release()
			type answer struct {
				op  api.Operation
				err error
			}
			answers := make(chan answer, 2)
			for i, name := range []string{"vision", "VISION"} {
				go func() {
					op, err := w.Create(e.ctx(), api.CreateRequest{Name: name, RequestID: c.requests[i]})
					answers <- answer{op, err}
				}()
			}
			<-s.Waiting
			require.Empty(t, w.Instances(context.Background(), api.ListOptions{}))
			release()
			var ops []api.Operation
			var errs []error
			for range 2 {
				a := <-answers
				if a.err != nil {
					errs = append(errs, a.err)
				} else {
					ops = append(ops, a.op)
				}
			}
			switch {
			case c.requests[0] != "":
				require.Len(t, ops, 2)
				require.Equal(t, ops[0].ID, ops[1].ID)
			case c.fails:
				require.Len(t, ops, 1)
				require.ErrorContains(t, errs[0], "full")
			default:
				require.Len(t, ops, 1)
				require.ErrorIs(t, errs[0], &api.Error{Code: api.CodeConflict})
			}
			require.Equal(t, api.OpSucceeded, ended(t, w, ops[0]).State)
			require.Equal(t, c.made, e.mem.Calls()["made"])
			require.Len(t, w.Instances(context.Background(), api.ListOptions{}), 1)
			require.Empty(t, w.arriving)
		})
	}
}

// TestAFailedWriteLeavesMemoryAsItWas.
func TestAFailedWriteLeavesMemoryAsItWas(t *testing.T) {
	e := newEnv(t)
	var full atomic.Bool
	w, _ := e.openFull(func(*store.Change) bool { return full.Load() })
	e.create(w, "vision")
	before, err := w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	sub, _ := w.Subscribe()
	defer sub.Close()
	full.Store(true)
	_, err = w.Action(e.ctx(), "vision", opStop, api.ActionRequest{})
	require.ErrorContains(t, err, "full")
	_, err = w.Create(e.ctx(), api.CreateRequest{Name: "second"})
	require.ErrorContains(t, err, "full")
	e.mem.Put(api.StateStopped)
	w.Reconciler.Reconcile(t.Context())
	after, err := w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	before.CostTodayUSD, after.CostTodayUSD = nil, nil // it is running
	require.Equal(t, before.State, after.State)
	require.Equal(t, before.Operation, after.Operation)
	require.Len(t, w.Instances(context.Background(), api.ListOptions{}), 1)
	require.Zero(t, w.Busy())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Empty(t, sub.Next(ctx), "nothing is shown")
	full.Store(false)
	e.create(w, "second")
	w.Reconciler.Reconcile(t.Context())
	after, err = w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, api.StateStopped, after.State)
}

// TestFiftyOperationsCommitTogether begins 50 operations while a transaction hangs: they are one transaction, and each
// event is shown in the order of its number.
func TestFiftyOperationsCommitTogether(t *testing.T) {
	const fleet = 50
	e := newEnv(t)
	e.fleet(fleet)
	w, s := e.openSlow()
	sub := w.SubscribeEvents()
	defer sub.Close()
	s.Forget()
	release := s.Hold()
	defer release()
	ops := make([]api.Operation, fleet)
	var wg sync.WaitGroup
	begin := func(i int) {
		wg.Go(func() {
			var err error
			ops[i], err = w.Action(e.ctx(), fmt.Sprintf("vision-%d", i), opStop, api.ActionRequest{})
			if err != nil {
				t.Error(err)
			}
		})
	}
	begin(0)
	<-s.Waiting
	for i := 1; i < fleet; i++ {
		begin(i)
	}
	require.Eventually(t, func() bool { return w.writer.Queued() == fleet-1 }, time.Minute, time.Millisecond)
	release()
	wg.Wait()
	batches := s.Transactions()
	require.Equal(t, 1, batches[0])
	require.GreaterOrEqual(t, batches[1], fleet-1, "and what the first one does next")
	for _, op := range ops {
		require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	}
	var seqs []int64
	for len(seqs) == 0 || seqs[len(seqs)-1] < lastSeq(t, w) {
		for _, c := range sub.Next(t.Context()) {
			if c.Event != nil {
				seqs = append(seqs, c.Event.Seq)
			}
		}
	}
	require.True(t, slices.IsSorted(seqs), "%v", seqs)
}

// lastSeq is the number of the newest event.
func lastSeq(t *testing.T, w *Workspace) int64 {
	evs, err := w.Events(t.Context(), api.EventOptions{Limit: 1})
	require.NoError(t, err)
	return evs[0].Seq
}

// TestAListMeetsAWriteUnderWay reconciles while one instance's change is being written: the others are merged at once,
// that one when it is done, and nothing is lost of either.
func TestAListMeetsAWriteUnderWay(t *testing.T) {
	e := newEnv(t)
	w, s := e.openSlow()
	a, b := e.create(w, "aaa"), e.create(w, "bbb")
	e.mem.Put(api.StateStopped)
	release := s.Hold()
	defer release()
	kept := make(chan error, 1)
	go func() { kept <- w.KeepTold(t.Context(), a.ID, map[string]time.Time{"hot": time.Now()}) }()
	<-s.Waiting
	listed := make(chan struct{})
	go func() {
		defer close(listed)
		w.Reconciler.Reconcile(t.Context())
	}()
	require.Eventually(t, func() bool { return w.writer.Queued() == 1 }, time.Minute, time.Millisecond,
		"what is free is queued")
	release()
	require.NoError(t, <-kept)
	<-listed
	for _, id := range []string{a.ID, b.ID} {
		rec, err := w.Record(id)
		require.NoError(t, err)
		require.Equal(t, api.StateStopped, rec.State, rec.Name)
		require.Equal(t, id == a.ID, len(rec.Told) == 1, rec.Name)
	}
}

// lockLines is a way to agents that must not be asked with a lock held.
type lockLines struct {
	*testLines
	free func(where string)
}

func (l lockLines) Agent(ctx context.Context, in backend.Endpoint) (net.Conn, error) {
	l.free("the way to an agent")
	return l.testLines.Agent(ctx, in)
}

func (l lockLines) Forget(ctx context.Context, in backend.Endpoint, uninstall string) (*backend.Shared, error) {
	l.free("the way to an agent")
	return l.testLines.Forget(ctx, in, uninstall)
}

// TestNothingIsCalledWithALockHeld takes the lock of what is in memory wherever the store, a provider or an agent is
// called, and before the latter two every instance's turn: who called it would wait for itself.
func TestNothingIsCalledWithALockHeld(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	var w atomic.Pointer[Workspace]
	var calls atomic.Int64
	free := func(turns bool) func(where string) {
		return func(where string) {
			w := w.Load()
			if w == nil {
				return // it is being opened
			}
			calls.Add(1)
			got := make(chan struct{})
			go func() {
				defer close(got)
				w.mu.Lock()
				var all []*entry
				for _, e := range w.entries {
					all = append(all, e)
				}
				w.mu.Unlock()
				for _, e := range all {
					if turns { // it can be had, that is all
						func() {
							e.turn.Lock()
							defer e.turn.Unlock()
						}()
					}
				}
			}()
			select {
			case <-got:
			case <-time.After(time.Minute):
				t.Errorf("%s is called with a lock held", where)
			}
		}
	}
	e.mem.Hook = func(_ context.Context, method string) error {
		free(true)(method)
		return nil
	}
	e.opts = func(o *Options) {
		o.Dialer = lockLines{e.lines, free(true)}
		o.Store = storetest.Refusing(o.Store, func(*store.Change) bool {
			free(false)("the store")
			return false
		})
	}
	opened, _ := e.open()
	w.Store(opened)
	ws := opened
	do := func(op api.Operation, err error) {
		t.Helper()
		require.NoError(t, err)
		require.Equal(t, api.OpSucceeded, ended(t, ws, op).State)
	}
	do(ws.Create(e.ctx(), api.CreateRequest{Name: "vision", Setup: "true", OnStart: "true"}))
	for _, kind := range []string{opStop, opStop, opStart, opRestart} {
		do(ws.Action(e.ctx(), "vision", kind, api.ActionRequest{}))
	}
	do(ws.Setups.Begin(e.ctx(), "vision", api.SetupRequest{Setup: "true"}))
	do(ws.Setups.Begin(e.ctx(), "vision", api.SetupRequest{Forget: true}))
	do(ws.Snapshots.Take(e.ctx(), "vision", api.SnapshotRequest{Name: "before"}))
	do(ws.Snapshots.Restore(e.ctx(), "vision", api.SnapshotRequest{Name: "before"}))
	do(ws.Images.Build(e.ctx(), api.ImageRequest{Name: "mine", From: "vision"}))
	ws.Reconciler.Reconcile(e.ctx())
	ws.Reconciler.Fresh(e.ctx())
	ws.probeAll(e.ctx(), "mem")
	_, err := ws.Reconciler.Refresh(e.ctx(), "vision")
	require.NoError(t, err)
	_, err = ws.Reconciler.Show(e.ctx(), "vision")
	require.NoError(t, err)
	ws.Doctor.Check(e.ctx())
	ws.Catalogue.Backends(e.ctx())
	do(ws.Action(e.ctx(), "vision", opDelete, api.ActionRequest{}))
	require.Greater(t, calls.Load(), int64(50))
}
