package operation

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

// ErrClosing is the cause with which Close ends what is under way: it stays unfinished in the store.
var ErrClosing = errors.New("the daemon is ending")

// Host keeps the documents of operations, beside those of what they change.
type Host interface {
	// Write stores what change makes of a copy of r's document, with the events that it returns. Once that is stored
	// it is shown (Run.Stored). It is tried again while the store fails, until ctx ends.
	Write(ctx context.Context, r *Run, change func(*store.Operation) []*api.Event) error
	// End is Write for the end of r: with it what becomes of the instance is stored.
	End(ctx context.Context, r *Run, change func(*store.Operation) []*api.Event) error
	// Failed is called before the end of an operation that has failed is stored.
	Failed(r *Run)
	// Over is called when r is under way no longer; ended: its end is stored, it was not left to the next daemon.
	Over(r *Run, ended bool)
	// Take puts a run that an earlier daemon began in its place. An error says why it can't be gone on with.
	Take(r *Run) error
	// Dismiss stores the end of an operation that can't be gone on with.
	Dismiss(ctx context.Context, op store.Operation, why error)
}

// Options are what an Engine is made of. Host, Guard, Log and Now must be set.
type Options struct {
	Host  Host
	Guard *Guard
	Log   *slog.Logger
	Now   func() time.Time
	Fault func(point string) // called at each fault point
	Plans map[string]Plan    // by kind
}

// Engine runs operations. It is safe for concurrent use.
type Engine struct {
	host   Host
	guard  *Guard
	log    *slog.Logger
	now    func() time.Time
	fault  func(point string)
	plans  map[string]Plan
	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc

	mu     sync.Mutex // guards what follows; nothing is called that could wait while it is held
	runs   map[string]*Run
	closed bool
	wg     sync.WaitGroup
}

// New returns an engine with nothing under way. Close it.
func New(o Options) *Engine {
	e := &Engine{host: o.Host, guard: o.Guard, log: o.Log, now: o.Now, fault: o.Fault, plans: o.Plans,
		runs: map[string]*Run{}}
	if e.fault == nil {
		e.fault = func(string) {}
	}
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	return e
}

// Close stops what runs, leaving operations unfinished in the store for the next daemon, and waits for it.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.cancel(ErrClosing)
	e.wg.Wait()
}

// Context ends with Close.
func (e *Engine) Context() context.Context { return e.ctx }

// Begin begins an operation: op has its id, its instance and what was asked for. write is to store c with what else
// changes by it, and to call shown in the moment from which it is shown. Where write fails nothing is under way.
func (e *Engine) Begin(ctx context.Context, op store.Operation,
	write func(r *Run, c store.Change, shown func()) error) (*Run, error) {
	if e.ctx.Err() != nil {
		return nil, api.Errorf(api.CodeUnreachable, "%w: %s of %s is not begun", ErrClosing, op.Kind, op.Instance)
	}
	caller := backend.CallerFrom(ctx)
	op.State, op.CreatedAt = api.OpRunning, e.now().UTC()
	op.Actor, op.Principal = caller.Principal.Name, caller.Principal.ID
	op.Selectors, op.Withheld = backend.Selectors(caller.Env), backend.Withheld(caller.Env)
	for _, s := range e.plans[op.Kind].Steps {
		op.Steps = append(op.Steps, api.Step{Name: s.Name, Title: s.Title, State: api.OpPending})
	}
	r := e.newRun(op, caller)
	e.fault(op.Kind + ".begin.before")
	c := store.Change{Operations: []store.Operation{r.Record()},
		Events: []*api.Event{e.event("operation.begin", "info", &op, op.Verb()+" asked for")}}
	shown := func() {
		r.Stored(c.Operations[0])
		e.list(r)
	}
	if err := write(r, c, shown); err != nil {
		r.cancel(nil)
		return nil, err
	}
	e.fault(op.Kind + ".begin.after")
	e.launch(r)
	return r, nil
}

// event makes an event about an operation; level is "info", "warn" or "error".
func (e *Engine) event(kind, level string, op *store.Operation, message string) *api.Event {
	return &api.Event{Time: e.now().UTC(), Kind: kind, Level: level, Actor: op.Actor, Principal: op.Principal,
		InstanceID: op.InstanceID, Instance: op.Instance, OperationID: op.ID, Message: message}
}

// list makes r one of those under way.
func (e *Engine) list(r *Run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runs[r.ID] = r
}

// launch runs r in a goroutine that Close ends.
func (e *Engine) launch(r *Run) {
	e.mu.Lock()
	closed := e.closed
	if !closed {
		e.wg.Add(1)
	}
	e.mu.Unlock()
	if closed { // the next daemon begins it
		e.over(r, false)
		return
	}
	go func() {
		defer e.wg.Done()
		e.operate(r.ctx, r)
	}()
}

// over ends r's being under way.
func (e *Engine) over(r *Run, ended bool) {
	e.mu.Lock()
	delete(e.runs, r.ID)
	e.mu.Unlock()
	e.host.Over(r, ended)
	r.cancel(nil)
	close(r.done)
}

// Get returns an operation under way, or nil.
func (e *Engine) Get(id string) *Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.runs[id]
}

// Len counts the operations under way.
func (e *Engine) Len() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.runs)
}

// List returns the documents of the operations under way, oldest first.
func (e *Engine) List() []api.Operation {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := []api.Operation{}
	for _, r := range e.runs {
		out = append(out, r.Snapshot())
	}
	slices.SortFunc(out, func(a, b api.Operation) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// Wait waits until an operation is under way no longer, or ctx ends.
func (e *Engine) Wait(ctx context.Context, id string) error {
	r := e.Get(id)
	if r == nil {
		return nil
	}
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
