package workspace

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"reflect"
	"strings"
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

// buffer is a log that several goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestABackendThatPanics: the operation fails, the log has the stack, and all goes on.
func TestABackendThatPanics(t *testing.T) {
	for method, ask := range map[string]func(w *Workspace, ctx context.Context) (api.Operation, error){
		"Create":  nil,
		"Prepare": nil,
		"Get":     nil,
		"Stop":    act(opStop),
		"Restart": act(opRestart),
		"Delete":  act(opDelete),
		"Snapshot": func(w *Workspace, ctx context.Context) (api.Operation, error) {
			return w.Snapshots.Take(ctx, "vision", api.SnapshotRequest{Name: "before"})
		},
		"BuildImage": func(w *Workspace, ctx context.Context) (api.Operation, error) {
			return w.Images.Build(ctx, api.ImageRequest{Name: "mine", From: "vision"})
		},
	} {
		t.Run(method, func(t *testing.T) {
			e := newEnv(t)
			var log buffer
			e.opts = func(o *Options) {
				o.Limits = Limits{Backoff: time.Millisecond}
				o.Log = slog.New(slog.NewTextHandler(&log, nil))
			}
			var armed atomic.Bool
			e.mem.Hook = func(_ context.Context, m string) error {
				if m == method && armed.Load() {
					var none *backend.Machine
					_ = none.State // as a fault of a backend does
				}
				return nil
			}
			w, _ := e.open()
			if ask == nil {
				ask = func(w *Workspace, ctx context.Context) (api.Operation, error) {
					return w.Create(ctx, api.CreateRequest{Name: "vision"})
				}
			} else {
				e.create(w, "vision")
			}
			armed.Store(true)
			op, err := ask(w, e.ctx())
			require.NoError(t, err)
			op = ended(t, w, op)
			require.Equal(t, api.OpFailed, op.State)
			require.Contains(t, op.Error.Message, "nil pointer dereference")
			require.Contains(t, log.String(), "guard_test.go", "the stack")
			stored, err := w.opts.Store.Operation(t.Context(), op.ID)
			require.NoError(t, err)
			require.Equal(t, api.OpFailed, stored.State)
			armed.Store(false)
			del, err := w.Action(e.ctx(), "vision", opDelete, api.ActionRequest{})
			require.NoError(t, err)
			require.Equal(t, api.OpSucceeded, ended(t, w, del).State)
			require.Zero(t, e.mem.Len())
		})
	}
}

func act(kind string) func(*Workspace, context.Context) (api.Operation, error) {
	return func(w *Workspace, ctx context.Context) (api.Operation, error) {
		return w.Action(ctx, "vision", kind, api.ActionRequest{})
	}
}

// panicky is a way to agents that panics.
type panicky struct{ *testLines }

func (panicky) Agent(context.Context, backend.Endpoint) (net.Conn, error) { panic("no way") }

// TestPanicsElsewhere: in the way to an agent, in a look that nobody waits for, and while the lock is held.
func TestPanicsElsewhere(t *testing.T) {
	t.Run("lines", func(t *testing.T) {
		e := newEnv(t)
		e.opts = func(o *Options) { o.Dialer, o.Limits.Agent = panicky{e.lines}, 50*time.Millisecond }
		w, _ := e.open()
		op, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision"})
		require.NoError(t, err)
		op = ended(t, w, op)
		require.Equal(t, api.OpFailed, op.State)
		require.Contains(t, op.Error.Message, "no way")
	})
	t.Run("looking", func(t *testing.T) {
		e := newEnv(t)
		w, _ := e.open()
		e.create(w, "vision")
		e.mem.Hook = func(_ context.Context, m string) error { panic("in " + m) }
		w.Reconciler.Reconcile(t.Context())
		in, err := w.Instance(context.Background(), "vision")
		require.NoError(t, err)
		require.Equal(t, api.StateUnknown, in.State)
		require.Contains(t, in.StateReason, "in List")
		in, err = w.Reconciler.Refresh(e.ctx(), "vision")
		require.NoError(t, err)
		require.Contains(t, in.StateReason, "in Get")
		_, err = w.Catalogue.Sizes(t.Context(), "mem")
		require.ErrorContains(t, err, "in Sizes")
		w.probeAll(t.Context(), "mem")
	})
	t.Run("the lock is held", func(t *testing.T) {
		e := newEnv(t)
		var armed atomic.Bool
		e.opts = func(o *Options) {
			o.Now = func() time.Time {
				if armed.CompareAndSwap(true, false) {
					panic("no time")
				}
				return time.Now()
			}
		}
		w, _ := e.open()
		e.create(w, "vision")
		e.mem.After = func(_ context.Context, m string) error {
			armed.Store(m == "Stop")
			return nil
		}
		op, err := w.Action(e.ctx(), "vision", opStop, api.ActionRequest{})
		require.NoError(t, err)
		op = ended(t, w, op)
		require.Equal(t, api.OpFailed, op.State)
		require.Contains(t, op.Error.Message, "no time")
		e.mem.After = nil
		op, err = w.Action(e.ctx(), "vision", opDelete, api.ActionRequest{})
		require.NoError(t, err)
		require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	})
}

// onceHandler is a log that panics at the first message which begins with what.
type onceHandler struct {
	slog.Handler
	what string
	done *atomic.Bool
}

func (h onceHandler) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, h.what) && h.done.CompareAndSwap(false, true) {
		panic("while resuming")
	}
	return h.Handler.Handle(ctx, r)
}

// TestAPanicWhileResuming keeps no other operation from going on.
func TestAPanicWhileResuming(t *testing.T) {
	e := newEnv(t)
	w, done := e.open()
	var c store.Change
	for _, name := range []string{"aaa", "bbb"} {
		in := e.create(w, name)
		c.Operations = append(c.Operations, store.Operation{Operation: api.Operation{ID: "op-" + name, Kind: opProbe,
			InstanceID: in.ID, Instance: name,
			State: api.OpRunning, CreatedAt: time.Now()}})
	}
	require.NoError(t, w.opts.Store.Apply(t.Context(), &c))
	done()
	e.opts = func(o *Options) {
		o.Log = slog.New(onceHandler{slog.NewTextHandler(&buffer{}, nil), "resuming", new(atomic.Bool)})
	}
	w, _ = e.open()
	first, second := ended(t, w, c.Operations[0].Operation), ended(t, w, c.Operations[1].Operation)
	require.Equal(t, api.OpFailed, first.State)
	require.Contains(t, first.Error.Message, "while resuming")
	require.Equal(t, api.OpSucceeded, second.State)
}

// TestDeleteWhileTheStoreIsFull: the end of a stop can't be written, and the user deletes meanwhile. The stop is under
// way until its end is written, and the delete comes after it.
func TestDeleteWhileTheStoreIsFull(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	var full atomic.Bool
	full.Store(true)
	refused := make(chan struct{}, 1000)
	e.opts = func(o *Options) {
		o.Store = storetest.Refusing(o.Store, func(c *store.Change) bool {
			for _, op := range c.Operations {
				if full.Load() && op.Kind == opStop && op.State.Done() {
					refused <- struct{}{}
					return true
				}
			}
			return false
		})
	}
	w, _ := e.open()
	in := e.create(w, "vision")
	stop, err := w.Action(e.ctx(), "vision", opStop, api.ActionRequest{})
	require.NoError(t, err)
	<-refused
	now, err := w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.NotNil(t, now.Operation)
	require.Equal(t, stop.ID, now.Operation.ID)
	require.Equal(t, api.OpRunning, now.Operation.State, "what is shown is what is written")
	deleted := make(chan api.Operation, 1)
	go func() {
		op, err := w.Action(e.ctx(), "vision", opDelete, api.ActionRequest{})
		if err == nil {
			deleted <- op
		}
		close(deleted)
	}()
	for range 3 { // it is tried again
		<-refused
	}
	full.Store(false)
	require.Equal(t, api.OpSucceeded, ended(t, w, stop).State)
	require.Equal(t, api.OpSucceeded, ended(t, w, <-deleted).State)
	_, err = w.Instance(context.Background(), in.ID)
	require.ErrorIs(t, err, backend.ErrNotFound)
	require.Zero(t, e.mem.Len())
}

// TestMemoryIsWhatTheStoreHas refuses every other change, and compares at each what is in memory with what is written.
func TestMemoryIsWhatTheStoreHas(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	var w *Workspace
	var armed atomic.Bool
	var odd bool // one at a time writes
	e.opts = func(o *Options) {
		st := o.Store
		o.Limits = Limits{Backoff: time.Millisecond}
		o.Store = storetest.Refusing(st, func(c *store.Change) bool {
			if !armed.Load() {
				return false
			}
			for _, op := range w.operations.List() {
				r := w.operations.Get(op.ID)
				if r == nil {
					continue // it has ended
				}
				have, err := st.Operation(context.Background(), op.ID)
				if err != nil {
					t.Errorf("the %s of %s is not in the store: %v", r.Kind, r.Instance, err)
				} else if !reflect.DeepEqual(written(have), written(r.Record())) {
					t.Errorf("in memory is %+v, in the store %+v", r.Record(), have)
				}
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			recs, err := st.Instances(context.Background())
			if err != nil || len(recs) != len(w.entries) {
				t.Errorf("%d instances are in memory, %d in the store: %v", len(w.entries), len(recs), err)
			}
			for _, rec := range recs {
				have, now := throughJSON(rec), throughJSON(w.entries[rec.ID].rec)
				if !sameRecord(&have, &now) {
					t.Errorf("in memory is %+v, in the store %+v", now, have)
				}
			}
			odd = !odd
			return odd && len(c.Operations) > 0 && c.Operations[0].State != api.OpPending &&
				w.operations.Get(c.Operations[0].ID) != nil
		})
	}
	w, _ = e.open()
	armed.Store(true)
	do := func(op api.Operation, err error) {
		t.Helper()
		require.NoError(t, err)
		op = ended(t, w, op)
		require.Equal(t, api.OpSucceeded, op.State, op.Error)
	}
	do(w.Create(e.ctx(), api.CreateRequest{Name: "vision", Setup: "true", OnStart: "true"}))
	for _, kind := range []string{opStop, opStart, opRestart} {
		do(w.Action(e.ctx(), "vision", kind, api.ActionRequest{}))
	}
	do(w.Setups.Begin(e.ctx(), "vision", api.SetupRequest{Setup: "true"}))
	do(w.Snapshots.Take(e.ctx(), "vision", api.SnapshotRequest{Name: "before"}))
	do(w.Snapshots.Restore(e.ctx(), "vision", api.SnapshotRequest{Name: "before"}))
	do(w.Images.Build(e.ctx(), api.ImageRequest{Name: "mine", From: "vision"}))
	do(w.Action(e.ctx(), "vision", opDelete, api.ActionRequest{}))
}

// written is an operation as it is written: without what is shown in passing, and as JSON has it.
func written(op store.Operation) store.Operation {
	op = throughJSON(op)
	for i := range op.Steps {
		s := &op.Steps[i]
		s.Message, s.DoneBytes, s.TotalBytes = "", 0, 0
		if s.State == api.OpRunning {
			s.Parts = nil
		}
	}
	return op
}

// throughJSON is v as it is read from the store.
func throughJSON[T any](v T) (out T) {
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		panic(err)
	}
	return out
}
