package uitest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
	"berth/backend/service/workspace"
)

// Workspace is the service's own workspace over providers in memory (package mem), with what tests need around it: a
// fleet to begin with, calls that are refused, operations that stand still at a step, figures that are fed by hand.
// Set the fields before use. It is safe for concurrent use.
type Workspace struct {
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Step is how long a step of an operation takes. 0: steps are taken by Advance only.
	Step time.Duration
	// Fail, if set, may refuse an action or a creation.
	Fail func(action, name string) error
	// WatchErr, if set, is asked at the beginning of each Watch.
	WatchErr func() error
	// Taken are names that only the service knows of; CheckErr is what CheckName fails with.
	Taken    map[string]bool
	CheckErr error
	// OffersErr, if set, is what a backend says that is asked for its sizes and images.
	OffersErr func(backend string) error
	// SnapshotErr is what the providers say when they are asked for snapshots, and to delete one.
	SnapshotErr error
	// Text is what consoles have; empty: what the provider says.
	Text string

	real      *workspace.Workspace
	store     *memStore
	providers map[string]*provider
	waits     *waiting

	mu      sync.Mutex
	at      time.Time         // the clock while the fleet is put in place
	calls   []string          // what was asked, oldest first
	asked   api.CreateRequest // by the last creation
	began   []string          // ids of operations, by when they began
	held    map[string]*held  // by operation
	moved   chan struct{}     // closed when a call begins to wait, or may go on
	ids     map[string]string // of instances that were put in later, by the id they were to have
	reboots map[string]string // what agents say of a reboot, by instance
	feeds   map[*feed]struct{}
	hanging bool                       // asking for snapshots waits
	hung    map[chan struct{}]struct{} // who waits
	*measured
	*queues
	*listening
}

// asAda is a call of hers.
func asAda() context.Context { return backend.WithCaller(context.Background(), ada) }

// ada is who uses the dashboard.
var ada = &backend.Caller{Principal: backend.Principal{ID: "local:1000", Name: "ada", Kind: backend.PrincipalLocal}}

// direct marks calls of a test or of the dashboard: they do not wait as those of an operation do.
type direct struct{}

func (w *Workspace) ctx(ctx context.Context) context.Context {
	return context.WithValue(backend.WithCaller(ctx, ada), direct{}, true)
}

// New returns a workspace with these instances. The operation of an instance is under way in it, or has failed.
func New(now func() time.Time, list ...api.Instance) *Workspace { return newWorkspace(now, nil, list) }

// newWorkspace is New, with events that were before.
func newWorkspace(now func() time.Time, past []api.Event, list []api.Instance) *Workspace {
	w := &Workspace{Now: now, store: newMemStore(), waits: newWaiting(), held: map[string]*held{},
		moved: make(chan struct{}), ids: map[string]string{}, reboots: map[string]string{},
		feeds: map[*feed]struct{}{}, hung: map[chan struct{}]struct{}{}}
	w.measured = newMeasured(w)
	w.queues = newQueues(w)
	w.listening = &listening{ws: w, of: map[string]api.Ports{}}
	if err := w.open(past, list); err != nil {
		panic(fmt.Sprintf("opening the workspace of a test: %v", err))
	}
	return w
}

// open puts the fleet into the store and the providers, and opens the workspace on it.
func (w *Workspace) open(past []api.Event, list []api.Instance) error {
	ctx := w.ctx(context.Background())
	w.providers = providers(w, list)
	backends := map[string]backend.Backend{}
	for name, p := range w.providers {
		backends[name] = p
	}
	c := &store.Change{Settings: map[string]string{"aliases": "[]"}} // not all of them are hers
	for _, e := range past {
		c.Events = append(c.Events, &e)
	}
	for i := range list {
		if err := w.seed(c, &list[i]); err != nil {
			return err
		}
	}
	if err := w.store.Apply(ctx, c); err != nil {
		return fmt.Errorf("putting the fleet into the store: %w", err)
	}
	// Nobody waits for a clock: what a test holds is held for as long as it likes.
	limits := workspace.Limits{Call: time.Hour, Machine: time.Hour, Agent: time.Hour, Gentle: time.Hour, Tries: 1}
	var err error
	w.real, err = workspace.Open(ctx, workspace.Options{Store: w.store, Backends: backends, Dialer: dialer{w},
		Now: w.clock, Limits: limits, Defaults: workspace.Defaults{Backend: "local"}})
	if err != nil {
		return err
	}
	w.real.Catalogue.Backends(ctx) // from now on it is known whose the instances are
	return w.resume(ctx, list)
}

// Close ends it.
func (w *Workspace) Close() { w.real.Close() }

func (w *Workspace) clock() time.Time {
	w.mu.Lock()
	at, now := w.at, w.Now
	w.mu.Unlock()
	switch {
	case !at.IsZero():
		return at
	case now == nil:
		return time.Now()
	}
	return now()
}

// Log returns what was asked so far.
func (w *Workspace) Log() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

func (w *Workspace) call(format string, a ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, fmt.Sprintf(format, a...))
}

// id is the id of an instance by the one that it was to have.
func (w *Workspace) id(id string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if given := w.ids[id]; given != "" {
		return given
	}
	return id
}

// Put lets the provider of an instance say something else of it from now on, or have another machine, and the
// workspace look: what a provider does not say can't be changed.
func (w *Workspace) Put(in api.Instance) {
	ctx := w.ctx(context.Background())
	rec, err := w.real.Record(w.id(in.ID))
	if err == nil {
		w.providers[rec.Backend].Add(machineOf(&in, machineID(&rec.Instance), rec.Token))
		_, err = w.real.Reconciler.Refresh(ctx, rec.ID)
	} else {
		in.ProviderName = in.Name
		w.providers[in.Backend].Add(machineOf(&in, "found-"+in.ID, ""))
		w.real.Reconciler.Reconcile(ctx)
		var now api.Instance
		if now, err = w.real.Instance(asAda(), in.Backend+"/"+in.Name); err == nil {
			w.mu.Lock()
			w.ids[in.ID] = now.ID
			w.mu.Unlock()
		}
	}
	if err != nil {
		panic(fmt.Sprintf("changing %s: %v", in.Name, err))
	}
}

// Remove deletes an instance, as another client does.
func (w *Workspace) Remove(id string) {
	op, err := w.real.Action(w.ctx(context.Background()), w.id(id), "delete", api.ActionRequest{})
	if err != nil {
		panic(fmt.Sprintf("deleting %s: %v", id, err))
	}
	w.release(op.ID, nil)
	w.rest(op.ID)
}
