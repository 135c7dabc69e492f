package workspace

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// Dialer reaches agents; it is implemented over unix sockets and SSH by package dial.
type Dialer interface {
	// Agent opens a connection to the instance's agent, putting the agent in place if need be.
	// Where no agent can run it returns *backend.AgentUnavailable.
	Agent(ctx context.Context, to backend.Endpoint) (net.Conn, error)
	// Forget closes what is open to the instance. With uninstall, the id of a home, it first takes from the instance
	// what is of that home. Where others use the agent, that is returned; else it goes, with its folder.
	Forget(ctx context.Context, to backend.Endpoint, uninstall string) (*backend.Shared, error)
}

// Options are what a Workspace is made of. Store, Backends and Dialer must be set.
type Options struct {
	Store    store.Store
	Backends map[string]backend.Backend
	// Failed are the backends that could not be opened, and why.
	Failed   map[string]error
	Dialer   Dialer
	Log      *slog.Logger
	Now      func() time.Time
	Fault    func(point string)
	dies     func(v any) bool // set by tests: operation.Guard.Dies
	Limits   Limits
	Defaults Defaults
	Env      map[string]string // its selectors are those of background work until a client has called
	// Policy says what principals may do; nil: everything.
	Policy Policy
	// Person is the one principal of a personal workspace; zero: whoever asks.
	Person backend.Principal
	// KeyPath is the file of the workspace's SSH key, made when the first machine needs it.
	KeyPath string
	// Parcels is the folder that keeps the folders of jobs that wait for their instances; empty: none are kept.
	Parcels string
	// Profiles turns the names of set-up profiles into a plan without an id, for an architecture (as Go names
	// it; empty: not known yet). It refuses what it does not know.
	Profiles func(names []string, arch string) (api.SetupPlan, error)
	// Engine is the compressed program that runs containers, for a system and architecture (as Go names them). It may be
	// nil: a development build has none, and its agents play it themselves.
	Engine func(goos, goarch string) ([]byte, bool)
}

// Defaults fill the empty fields of a create request.
type Defaults struct {
	Backend string
	Size    string
	Image   string
}

// Limits are the time limits of an operation's parts; zero fields take the defaults.
type Limits struct {
	Call    time.Duration // one call of a provider: 2 min
	Machine time.Duration // a machine's way to a state: 20 min
	Agent   time.Duration // the agent's first answer on a new machine: 5 min
	Prepare time.Duration // fetching what a backend needs before it can create: 6 h
	Setup   time.Duration // all set-up profiles and scripts: 12 h
	Gentle  time.Duration // a machine's reaction to a stop or restart before it is forced: 90 s
	Tries   int           // of a provider call that can't reach the provider: 4
	Backoff time.Duration // before the second try, then doubled: 500 ms
}

func (l Limits) withDefaults() Limits {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&l.Call, 2*time.Minute)
	def(&l.Machine, 20*time.Minute)
	def(&l.Agent, 5*time.Minute)
	def(&l.Prepare, 6*time.Hour)
	def(&l.Setup, 12*time.Hour)
	def(&l.Gentle, 90*time.Second)
	def(&l.Backoff, 500*time.Millisecond)
	if l.Tries == 0 {
		l.Tries = 4
	}
	return l
}

// Workspace is the fleet of one home. It is safe for concurrent use.
type Workspace struct {
	opts   Options
	log    *slog.Logger
	now    func() time.Time
	limits Limits
	hub    *hub
	homeID string
	id     string   // of the workspace; guarded by mu
	former []string // ids of those that this home belonged to before; guarded by mu

	operations *operation.Engine
	guards     *operation.Guard
	writer     *store.Writer

	leaving  sync.Mutex // held while what stays on forgotten machines is noted
	learning sync.Mutex // held while what the person is called is noted
	joining  sync.Mutex // held while another workspace is joined
	adopting sync.Mutex // held from the look whether a machine is in the fleet until it is
	pollers  *pollers
	accounts *accounts

	// What the workspace does beside keeping the fleet, by subject.
	Reconciler *Reconciler
	Catalogue  Catalogue
	Setups     Setups
	Snapshots  Snapshots
	Images     Images
	Doctor     Doctor
	Membership Membership
	Outbox     Outbox

	couriers sync.WaitGroup     // see courier.go
	parcels  map[string]*parcel // by UUID; see parcels.go; guarded by mu

	mu       sync.Mutex          // see commit.go
	entries  map[string]*entry   // by instance id
	arriving map[string]*arrival // instances on their way into the store, by name in lower case
	whoami   map[accountKey]string
	aliases  map[string]bool      // see people.go; guarded by mu, written while learning is held too
	unkept   bool                 // a name in aliases could not be stored; guarded as they are
	gone     map[string]time.Time // when records were removed, by BACKEND/ID and BACKEND/TOKEN of the machine
	suspects map[string]bool      // instances to look at, because their line has changed
	down     map[string]int       // instances whose line is down, and how often they were looked at since
}

// entry is one instance in memory.
type entry struct {
	turn sync.Mutex // see commit.go

	// What follows is guarded by Workspace.mu.
	rec    store.Instance
	run    *operation.Run // the operation under way, if any
	freed  time.Time      // when the one before it ended
	lastOp *api.Operation // the last one, if it failed
	agent  *api.AgentStatus
	post   postbox
}

// seen are copies of what is in memory of an instance.
type seen struct {
	rec   store.Instance
	run   *operation.Run
	agent *api.AgentStatus
}

// arrival is an instance on its way into the store.
type arrival struct {
	opID string
	done chan struct{} // closed when it is stored, or has failed
}

// Open loads the workspace from its store. Nothing runs until Resume.
func Open(ctx context.Context, o Options) (*Workspace, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Policy == nil {
		o.Policy = Everything
	}
	if o.Fault == nil {
		o.Fault = func(string) {}
	}
	w := &Workspace{opts: o, log: o.Log, now: o.Now, limits: o.Limits.withDefaults(), hub: newHub(),
		writer: store.NewWriter(o.Store), guards: &operation.Guard{Log: o.Log, Dies: o.dies},
		entries: map[string]*entry{}, arriving: map[string]*arrival{}, whoami: map[accountKey]string{},
		suspects: map[string]bool{}, down: map[string]int{}, gone: map[string]time.Time{}}
	w.operations = operation.New(operation.Options{Host: host{w}, Guard: w.guards, Log: w.log, Now: w.now, Fault: o.Fault,
		Plans: w.plans()})
	w.accounts = newAccounts(w)
	w.pollers = newPollers(w.operations.Context(), w.limits.Call, w.guards)
	w.Reconciler = newReconciler(w)
	w.Catalogue, w.Setups, w.Snapshots, w.Images, w.Doctor = Catalogue{w}, Setups{w}, Snapshots{w}, Images{w}, Doctor{w}
	w.Membership, w.Outbox = Membership{w}, Outbox{w}
	var err error
	if w.homeID, err = HomeID(ctx, o.Store); err != nil {
		return nil, err
	}
	if err := w.Membership.load(ctx); err != nil {
		return nil, err
	}
	if err := w.accounts.load(ctx); err != nil {
		return nil, err
	}
	recs, docs, err := store.Load(ctx, o.Store)
	if err != nil {
		return nil, err
	}
	for i := range recs {
		w.entries[recs[i].ID] = &entry{rec: recs[i]}
	}
	w.Outbox.load(docs)
	w.Outbox.loadParcels()
	if err := w.loadAliases(ctx, recs); err != nil {
		return nil, err
	}
	return w, nil
}

// HomeID is the random id of a store, which is made at the first start.
func HomeID(ctx context.Context, s store.Store) (string, error) { return setting(ctx, s, "home_id") }

// setting reads a random id of the store, making it at the first start.
func setting(ctx context.Context, s store.Store, key string) (string, error) {
	v, err := s.Setting(ctx, key)
	if err != nil || v != "" {
		return v, err
	}
	v = newID("")
	return v, s.Apply(ctx, &store.Change{Settings: map[string]string{key: v}})
}

// newID returns prefix and 16 random hex digits.
func newID(prefix string) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	return prefix + hex.EncodeToString(b[:])
}

// Close stops what runs, leaving operations unfinished in the store for the next daemon, and waits
// for it. The store stays open.
func (w *Workspace) Close() {
	w.operations.Close()
	w.Outbox.close()
	w.pollers.wg.Wait() // nobody waits any longer
	w.Reconciler.close()
	w.accounts.close()
	w.writer.Close()
	w.hub.close()
}

// home is how this home names itself to agents.
func (w *Workspace) home() api.Home { return api.NewHome(w.homeID, w.opts.Person.Name) }

// IDs returns the random ids of the workspace and of this home.
func (w *Workspace) IDs() (workspace, home string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.id, w.homeID
}

// Len counts the instances.
func (w *Workspace) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.entries)
}

// Instances lists what the caller of ctx may see of the fleet, in name order.
func (w *Workspace) Instances(ctx context.Context, o api.ListOptions) []api.Instance {
	p := backend.CallerFrom(ctx).Principal
	return w.list(o, func(in *api.Instance) bool { return w.view(p, in) && (in.Mine || !o.Mine) })
}

// list lists the instances that keep wants, in name order. keep is called with w.mu held.
func (w *Workspace) list(o api.ListOptions, keep func(in *api.Instance) bool) []api.Instance {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]api.Instance, 0, len(w.entries))
	for _, e := range w.entries {
		r := &e.rec
		if (o.Backend != "" && r.Backend != o.Backend) || (o.State != "" && r.State != o.State) {
			continue
		}
		in := w.public(e)
		if keep(&in) {
			out = append(out, in)
		}
	}
	slices.SortFunc(out, func(a, b api.Instance) int {
		if c := strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)); c != 0 {
			return c
		}
		return strings.Compare(a.Backend, b.Backend)
	})
	return out
}

// Instance returns one instance by name, BACKEND/NAME or id, as the caller of ctx sees it.
func (w *Workspace) Instance(ctx context.Context, name string) (api.Instance, error) {
	p := backend.CallerFrom(ctx).Principal
	w.mu.Lock()
	defer w.mu.Unlock()
	e, err := w.find(name)
	if err != nil {
		return api.Instance{}, err
	}
	in := w.public(e)
	w.view(p, &in)
	return in, nil
}

// Record returns a copy of the durable record of an instance, for the lines and the daemon.
func (w *Workspace) Record(name string) (store.Instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, err := w.find(name)
	if err != nil {
		return store.Instance{}, err
	}
	return e.rec, nil
}

// event makes an event about an instance, an operation, or both; level is "info", "warn" or "error".
func (w *Workspace) event(kind, level string, rec *store.Instance, op *api.Operation, who backend.Principal,
	format string, a ...any) *api.Event {
	ev := &api.Event{Time: w.now().UTC(), Kind: kind, Level: level, Actor: who.Name, Principal: who.ID,
		Message: fmt.Sprintf(format, a...)}
	if rec != nil {
		ev.InstanceID, ev.Instance = rec.ID, rec.Name
	}
	if op != nil {
		ev.OperationID = op.ID
		if rec == nil {
			ev.InstanceID, ev.Instance = op.InstanceID, op.Instance
		}
		if who.ID == "" {
			ev.Actor, ev.Principal = op.Actor, op.Principal
		}
	}
	return ev
}

// Events returns recorded events; their instance may be gone, as long as events of it are kept. Of several that had its
// name it is the last one.
func (w *Workspace) Events(ctx context.Context, o api.EventOptions) ([]api.Event, error) {
	q := store.EventQuery{Since: o.Since, Limit: o.Limit}
	if o.Instance != "" {
		rec, err := w.Record(o.Instance)
		if errors.Is(err, &api.Error{Code: api.CodeNotFound}) {
			last, lerr := w.opts.Store.Events(ctx, store.EventQuery{Called: o.Instance, Limit: 1})
			if lerr != nil {
				return nil, lerr
			}
			if len(last) > 0 {
				rec.ID, err = last[0].InstanceID, nil
			}
		}
		if err != nil {
			return nil, err
		}
		q.InstanceID = rec.ID
	}
	return w.opts.Store.Events(ctx, q)
}
