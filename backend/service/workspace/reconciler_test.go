package workspace

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/mem"
)

// TestAProviderThatHangsStopsItsOwnLoopOnly: beside it another one's machines are seen as they change, and a listing
// does not wait for it.
func TestAProviderThatHangsStopsItsOwnLoopOnly(t *testing.T) {
	e := newEnv(t)
	other := mem.New()
	other.Line = e.mem.Line
	hangs := make(chan struct{})
	var hung, armed atomic.Bool
	other.Hook = func(ctx context.Context, method string) error {
		if method == "List" && armed.Load() {
			if hung.CompareAndSwap(false, true) {
				close(hangs)
			}
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	e.opts = func(o *Options) {
		o.Backends["other"] = other
		o.Limits.Call = time.Hour
	}
	w, _ := e.open()
	e.create(w, "vision")
	op, err := w.Create(e.ctx(), api.CreateRequest{Name: "speech", Backend: "other"})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	armed.Store(true)
	ctx, cancel := context.WithCancel(e.ctx())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer w.Reconciler.Watch(t.Context())()
	wg.Go(func() { w.Reconciler.Run(ctx) })
	<-hangs
	for _, state := range []api.State{api.StateStopped, api.StateRunning, api.StateStopped} {
		e.mem.Put(state)
		w.Reconciler.Wake()
		require.Eventually(t, func() bool {
			in, err := w.Instance(context.Background(), "vision")
			return err == nil && in.State == state
		}, time.Minute, time.Millisecond)
	}
	l := w.Reconciler.loops["other"]
	l.mu.Lock()
	l.since = time.Now().Add(-2 * freshFor) // it has hung for a while
	l.mu.Unlock()
	require.Nil(t, l.fresh(t.Context(), time.Hour), "a listing does not wait for it")
	l.mu.Lock()
	hanging := l.underWay != nil
	l.mu.Unlock()
	require.True(t, hanging, "it still hangs")
	w.Reconciler.Fresh(e.ctx())
}

// stopAll stops the n instances of a fleet, whose provider takes its time, and returns when all of them wait for their
// machines.
func stopAll(t *testing.T, e *env, w *Workspace, n int) (ops []api.Operation) {
	t.Helper()
	e.mem.Delay = time.Hour
	for i := range n {
		op, err := w.Action(e.ctx(), fmt.Sprintf("vision-%d", i), opStop, api.ActionRequest{})
		require.NoError(t, err)
		ops = append(ops, op)
	}
	require.Eventually(t, func() bool {
		w.pollers.mu.Lock()
		defer w.pollers.mu.Unlock()
		for _, q := range w.pollers.all {
			if len(q.waiting) == n {
				return true
			}
		}
		return false
	}, time.Minute, time.Millisecond, "all wait")
	return ops
}

// TestOneListServesAllWhoWait: however many operations wait for machines of one backend, only lists are asked for.
func TestOneListServesAllWhoWait(t *testing.T) {
	for _, n := range []int{1, listFrom, 50} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			e := newEnv(t)
			e.opts = func(o *Options) { o.Limits = Limits{} }
			e.fleet(n)
			w, _ := e.open()
			ops := stopAll(t, e, w, n)
			before := e.mem.Calls()
			rounds := 4
			require.Eventually(t, func() bool {
				now := e.mem.Calls()
				return now["List"]-before["List"]+(now["Get"]-before["Get"])/n >= rounds
			}, time.Minute, time.Millisecond)
			after := e.mem.Calls()
			if n >= listFrom {
				require.Equal(t, before["Get"], after["Get"], "nobody asks by himself")
			} else {
				require.Equal(t, before["List"], after["List"], "one is asked for alone")
			}
			e.mem.Put(api.StateStopped)
			for _, op := range ops {
				require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
			}
			require.Less(t, e.mem.Calls()["Get"]-after["Get"], listFrom+rounds, "the last ones, when few are left")
			w.pollers.wg.Wait() // it ends when nobody waits
			require.Empty(t, w.pollers.all)
		})
	}
}

// noList is a provider without a list.
type noList struct{ *mem.Backend }

func (b noList) Info() backend.Info {
	i := b.Backend.Info()
	i.Capabilities.List = false
	return i
}

// TestWithoutAListAFewAreAskedForAtOnce, and one that hangs holds up no other.
func TestWithoutAListAFewAreAskedForAtOnce(t *testing.T) {
	const n = 50
	e := newEnv(t)
	e.opts = func(o *Options) {
		o.Limits = Limits{}
		o.Backends["mem"] = noList{e.mem}
	}
	e.fleet(n)
	w, _ := e.open()
	var now, most, gets atomic.Int64
	var armed atomic.Bool
	e.mem.Hook = func(ctx context.Context, method string) error {
		if method != "Get" || !armed.Load() {
			return nil
		}
		if gets.Add(1) == 1 { // one hangs
			<-ctx.Done()
			return ctx.Err()
		}
		n := now.Add(1)
		defer now.Add(-1)
		for {
			if was := most.Load(); n <= was || most.CompareAndSwap(was, n) {
				break
			}
		}
		time.Sleep(time.Millisecond) // an answer takes its time
		return nil
	}
	ops := stopAll(t, e, w, n)
	armed.Store(true)
	require.Eventually(t, func() bool { return gets.Load() > 2*n }, time.Minute, time.Millisecond)
	e.mem.Put(api.StateStopped)
	done := 0
	require.Eventually(t, func() bool {
		done = 0
		for _, op := range ops {
			if now, err := w.Operation(t.Context(), op.ID); err == nil && now.State == api.OpSucceeded {
				done++
			}
		}
		return done >= n-1
	}, time.Minute, 10*time.Millisecond, "all but the one whose answer hangs")
	require.Equal(t, n-1, done)
	require.LessOrEqual(t, most.Load(), int64(parallelGets))
}

// TestWhatIsInNoListIsAskedFor: a list may lack a machine that is there; only a look at it says that it is gone.
func TestWhatIsInNoListIsAskedFor(t *testing.T) {
	e := newEnv(t)
	e.opts = func(o *Options) {
		o.Limits = Limits{}
		o.Backends["mem"] = shortList{e.mem}
	}
	e.fleet(2 * listFrom)
	w, _ := e.open()
	ops := stopAll(t, e, w, 2*listFrom)
	e.mem.Put(api.StateStopped)
	for _, op := range ops {
		op = ended(t, w, op)
		require.Equal(t, api.OpSucceeded, op.State, op.Error)
	}
	e.mem.Delay = 0
	ops = nil
	for _, in := range w.Instances(context.Background(), api.ListOptions{}) {
		op, err := w.Action(e.ctx(), in.Name, opDelete, api.ActionRequest{})
		require.NoError(t, err)
		ops = append(ops, op)
	}
	for _, op := range ops {
		op = ended(t, w, op)
		require.Equal(t, api.OpSucceeded, op.State, op.Error)
	}
	require.Zero(t, e.mem.Len())
}

// shortList is a provider whose list lacks every machine.
type shortList struct{ *mem.Backend }

func (shortList) List(context.Context) ([]backend.Machine, error) { return nil, nil }

// TestWhatAProviderTellsIsLookedAt changes a machine while nobody watches: the provider tells of it.
func TestWhatAProviderTellsIsLookedAt(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	in := e.create(w, "vision")
	go w.Reconciler.Run(t.Context())
	rec, err := w.Record(in.ID)
	require.NoError(t, err)
	state := func() api.State {
		now, err := w.Instance(context.Background(), in.ID)
		require.NoError(t, err)
		return now.State
	}
	e.mem.Put(api.StateUnusable)
	w.Reconciler.Changed("mem", rec.ProviderID)
	require.Eventually(t, func() bool { return state() == api.StateUnusable }, 2*time.Minute, 5*time.Millisecond)
	e.mem.Put(api.StateStopped)
	w.Reconciler.Changed("mem", "") // any of them
	require.Eventually(t, func() bool { return state() == api.StateStopped }, 2*time.Minute, 5*time.Millisecond)
	for range 1000 { // a burst is one look, or two
		w.Reconciler.Changed("mem", "unknown")
	}
	w.Reconciler.Changed("none", "x")
	before := e.mem.Calls()["List"]
	e.mem.Put(api.StateRunning)
	require.Eventually(t, func() bool { return state() == api.StateRunning }, 2*time.Minute, 5*time.Millisecond)
	require.LessOrEqual(t, e.mem.Calls()["List"], before+2)
}
