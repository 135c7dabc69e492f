package operation

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

// desk keeps the documents of operations in a database, and nothing else.
type desk struct {
	t      *testing.T
	db     *store.SQLite
	writer *store.Writer

	mu     sync.Mutex
	failed []string
	ends   map[string]bool
	taken  []string
}

func newDesk(t *testing.T, path string) *desk {
	db, err := store.Open(t.Context(), path)
	require.NoError(t, err)
	return &desk{t: t, db: db, writer: store.NewWriter(db), ends: map[string]bool{}}
}

func (d *desk) Write(_ context.Context, r *Run, change func(*store.Operation) []*api.Event) error {
	op := r.Record()
	evs := change(&op)
	c := &store.Change{Operations: []store.Operation{op}, Events: evs}
	return d.writer.Write(c, func() { r.Stored(c.Operations[0]) })
}

func (d *desk) End(ctx context.Context, r *Run, change func(*store.Operation) []*api.Event) error {
	return d.Write(ctx, r, change)
}

func (d *desk) Failed(r *Run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = append(d.failed, r.ID)
}

func (d *desk) Over(r *Run, ended bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ends[r.ID] = ended
}

func (d *desk) Take(r *Run) error {
	if r.InstanceID == "gone" {
		return api.Errorf(api.CodeCancelled, "the instance is gone")
	}
	d.taken = append(d.taken, r.ID)
	return nil
}

func (d *desk) Dismiss(_ context.Context, op store.Operation, _ error) {
	require.NoError(d.t, d.writer.Write(&store.Change{Operations: []store.Operation{op}}, nil))
}

// stage is a desk with an engine, which end as a daemon does.
type stage struct {
	*desk
	*Engine
}

func open(t *testing.T, path string, plans map[string]Plan) *stage {
	d := newDesk(t, path)
	log := slog.New(slog.DiscardHandler)
	s := &stage{desk: d}
	s.Engine = New(Options{Host: d, Guard: &Guard{Log: log}, Log: log, Now: time.Now, Plans: plans})
	t.Cleanup(s.close)
	return s
}

func (s *stage) close() {
	s.Engine.Close()
	s.writer.Close()
	_ = s.db.Close()
}

// begin begins an operation of a kind.
func (s *stage) begin(id, kind string) *Run {
	s.t.Helper()
	ctx := backend.WithCaller(s.t.Context(), &backend.Caller{Principal: backend.Principal{ID: "local:1", Name: "me"}})
	op := store.Operation{Operation: api.Operation{ID: id, Kind: kind, InstanceID: "i-1", Instance: "vision"}}
	r, err := s.Begin(ctx, op, func(_ *Run, c store.Change, shown func()) error { return s.writer.Write(&c, shown) })
	require.NoError(s.t, err)
	return r
}

// ended waits for an operation and returns it as it is stored.
func (s *stage) ended(id string) store.Operation {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	require.NoError(s.t, s.Wait(ctx, id))
	op, err := s.db.Operation(s.t.Context(), id)
	require.NoError(s.t, err)
	return op
}

func step(name string, do func(ctx context.Context, r *Run) error) Step {
	return Step{Name: name, Title: "doing " + name, Limit: time.Minute, Do: do}
}

// TestGoesOnWhereItStood ends the engine in the second of three steps: the next one, whose plan has another step, does
// what is left.
func TestGoesOnWhereItStood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	ran, reached := make(chan string, 10), make(chan struct{})
	note := func(name string) Step {
		return step(name, func(_ context.Context, r *Run) error {
			ran <- name
			if !r.Resumed {
				return errors.New("it should not come so far")
			}
			return nil
		})
	}
	s := open(t, path, map[string]Plan{"make": {Steps: []Step{
		step("a", func(context.Context, *Run) error { return nil }),
		step("b", func(ctx context.Context, _ *Run) error {
			close(reached)
			<-ctx.Done()
			return ctx.Err()
		}),
		note("c"),
	}}})
	s.begin("op-1", "make")
	<-reached
	require.Len(t, s.List(), 1)
	s.close()
	require.False(t, s.ends["op-1"], "it is left to the next daemon")

	s = open(t, path, map[string]Plan{"make": {Steps: []Step{note("new"), note("a"), note("b"), note("c"), note("d")}}})
	ops, err := s.db.Unfinished(t.Context())
	require.NoError(t, err)
	s.Resume(t.Context(), ops, map[string]string{"A": "b"})
	op := s.ended("op-1")
	require.Equal(t, api.OpSucceeded, op.State, op.Error)
	close(ran)
	var got []string
	for name := range ran {
		got = append(got, name)
	}
	require.Equal(t, []string{"b", "c", "d"}, got)
	require.Equal(t, api.OpSkipped, op.Steps[0].State)
	require.Len(t, op.Warnings, 1, "that one step is not run is said")
	require.True(t, s.ends["op-1"])
	require.Zero(t, s.Len())
}

// TestWhatCannotBeGoneOnWith is ended, and keeps nothing else from going on.
func TestWhatCannotBeGoneOnWith(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), map[string]Plan{"make": {}})
	var ops []store.Operation
	for id, change := range map[string]func(op *store.Operation){
		"op-gone":       func(op *store.Operation) { op.InstanceID = "gone" },
		"op-unreadable": func(op *store.Operation) { op.Unreadable = errors.New("nonsense") },
		"op-newer":      func(op *store.Operation) { op.Kind = "resize" },
		"op-fine":       func(*store.Operation) {},
	} {
		op := store.Operation{Operation: api.Operation{ID: id, Kind: "make", InstanceID: "i-1", State: api.OpRunning,
			CreatedAt: time.Now()}}
		change(&op)
		ops = append(ops, op)
	}
	s.Resume(t.Context(), ops, nil)
	for _, op := range ops {
		want := api.OpFailed
		if op.ID == "op-fine" {
			want = api.OpSucceeded
		}
		require.Equal(t, want, s.ended(op.ID).State, op.ID)
	}
	require.Equal(t, []string{"op-fine"}, s.taken)
}

// TestAPanicEndsItsOperation, and a new operation ends one that is under way.
func TestAPanicEndsItsOperation(t *testing.T) {
	began := make(chan struct{})
	s := open(t, filepath.Join(t.TempDir(), "x.db"), map[string]Plan{
		"panic": {Steps: []Step{step("a", func(context.Context, *Run) error { panic("no way") })}},
		"wait": {Steps: []Step{step("a", func(ctx context.Context, _ *Run) error {
			close(began)
			<-ctx.Done()
			return ctx.Err()
		})}},
		"delete": {EndsAll: true},
		"stop":   {Ends: []string{"wait"}},
		"look":   {Background: true},
	})
	s.begin("op-1", "panic")
	op := s.ended("op-1")
	require.Equal(t, api.OpFailed, op.State)
	require.Contains(t, op.Error.Message, "no way")
	require.Equal(t, api.OpFailed, op.Steps[0].State)
	require.Equal(t, []string{"op-1"}, s.failed)

	r := s.begin("op-2", "wait")
	<-began
	require.NoError(t, r.GiveUp(t.Context(), "stop"))
	op = s.ended("op-2")
	require.Equal(t, api.OpCancelled, op.State)
	require.Contains(t, op.Error.Message, "given up for stop")
	require.Equal(t, []string{"op-1"}, s.failed, "it has not failed")

	for _, c := range []struct {
		kind, underWay string
		ends           bool
	}{{"delete", "wait", true}, {"delete", "delete", false}, {"stop", "wait", true}, {"stop", "panic", false},
		{"wait", "stop", false},
		{"panic", "look", true}, {"look", "look", false}, {"look", "wait", false}} {
		require.Equal(t, c.ends, s.Supersedes(c.kind, c.underWay), "%v", c)
	}

	s.Engine.Close()
	_, err := s.Begin(t.Context(), store.Operation{Operation: api.Operation{ID: "op-3", Kind: "panic"}}, nil)
	require.ErrorIs(t, err, ErrClosing)
}
