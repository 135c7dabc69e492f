package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"berth/backend/api"
	"berth/backend/base/coalesce"
	"berth/backend/service/store"
	"berth/backend/service/workspace"
	"berth/gpu"
	"berth/gpu/idle"
)

// Workspace is what a Hub needs of one; *workspace.Workspace is one.
type Workspace interface {
	Subscribe() (*workspace.Subscription, []api.Instance)
	Record(name string) (store.Instance, error)
	May(ctx context.Context, a api.Action, in *api.Instance) error
	AgentClient(rec store.Instance) *api.AgentClient
	// Background is ctx for work that nobody asked for.
	Background(ctx context.Context) context.Context
	// KeepFigures keeps the last figures of an instance that stops.
	KeepFigures(ctx context.Context, id string, s *gpu.Summary) error
	// KeepIdle keeps, by instance id, when GPUs were idle. The days are not changed any more.
	KeepIdle(ctx context.Context, days map[string]*idle.Day) error
	// KeepTold keeps for which findings (with when each began) the hook was called.
	KeepTold(ctx context.Context, id string, told map[string]time.Time) error
}

// Options of a Hub.
type Options struct {
	Workspace Workspace
	Log       *slog.Logger
	// Hook, if not nil, is called once for each finding that is new and neither acknowledged nor muted, a few at
	// a time and in the order in which they were found; it must end with ctx.
	Hook func(ctx context.Context, in *api.Instance, f *api.Attention)
	// Jobs, if not nil, is told how many jobs of an instance run and wait, at first and when that changes.
	Jobs func(id string, n api.JobCounts)
	Now  func() time.Time // nil: time.Now
}

// Hub follows instances for its watchers.
type Hub struct {
	o      Options
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu       sync.Mutex
	hosts    map[string]*host // by instance id
	watchers map[*watcher]struct{}
	noted    map[string]int     // instances whose jobs are followed for themselves, and how often that was asked for
	stop     context.CancelFunc // of the following; nil: nobody watches
	followed chan struct{}      // closed when the last following has ended
	changed  chan struct{}      // closed when the pace is another
	pace     time.Duration
	wg       sync.WaitGroup
	today    *idle.Day     // of which nothing is known: only when it begins and ends
	readers  chan struct{} // has room for those who read a history at once
	calls    []hookCall    // for which the hook is still to be called
	calling  int           // how many goroutines call it
}

// New returns a hub that follows nothing yet. Close it.
func New(o Options) *Hub {
	if o.Now == nil {
		o.Now = time.Now
	}
	h := &Hub{o: o, hosts: map[string]*host{}, watchers: map[*watcher]struct{}{}, noted: map[string]int{},
		changed: make(chan struct{}),
		today:   idle.New(o.Now()), readers: make(chan struct{}, readParallel)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// Close ends all following and waits for it. Watch must have returned.
func (h *Hub) Close() {
	h.mu.Lock()
	h.cancel()
	if h.stop != nil {
		h.stop()
		h.stop = nil
	}
	h.mu.Unlock()
	h.wg.Wait()
}

// watcher is one call of Watch.
type watcher struct {
	every   time.Duration
	pending coalesce.Queue[string, api.FleetFigures] // by instance; guarded by Hub.mu
	ready   coalesce.Signal
}

func (w *watcher) add(f api.FleetFigures) {
	w.pending.Put(f.Instance, f)
	w.ready.Send()
}

// Watch sends the last known figures of every instance and then new ones, each instance's at most once in
// every, until ctx ends or send fails. The figures are taken at the pace of the watcher that asks for most.
func (h *Hub) Watch(ctx context.Context, every time.Duration, send func([]api.FleetFigures) error) error {
	every = max(every, time.Second)
	w := &watcher{every: every, ready: coalesce.NewSignal()}
	h.mu.Lock()
	h.roll()
	for _, host := range h.hosts {
		if host.stop == nil && usable(host.in.State) {
			host.unheard(h.o.Now()) // nobody has watched
		}
		if f := h.figures(host); f.Summary != nil || f.Silent != nil || f.IdleToday != nil {
			w.add(f)
		}
	}
	h.watchers[w] = struct{}{}
	h.setPace()
	h.begin()
	h.mu.Unlock()
	defer h.leave(w)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.ready:
		}
		h.mu.Lock()
		batch := w.pending.Take()
		h.mu.Unlock()
		if err := send(batch); err != nil {
			return err
		}
		// What comes within a moment goes out together.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(gather):
		}
	}
}

// gather is how long lines are gathered before they are written: 200 instances are five writes a second.
const gather = 200 * time.Millisecond

// setPace makes the pace that of the most eager watcher. h.mu must be held.
func (h *Hub) setPace() {
	pace := time.Duration(0)
	for w := range h.watchers {
		if pace == 0 || w.every < pace {
			pace = w.every
		}
	}
	if pace != 0 && pace != h.pace {
		h.pace = pace
		close(h.changed)
		h.changed = make(chan struct{})
	}
}

// begin begins to follow, if that is not under way. h.mu must be held.
func (h *Hub) begin() {
	if h.stop != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background()) // its owner is Close, or the last watcher's leaving
	h.stop = cancel
	before, done := h.followed, make(chan struct{})
	h.followed = done
	h.wg.Go(func() {
		defer close(done)
		defer cancel()
		if before != nil {
			<-before // it was told to end, and closes what it follows
		}
		h.follow(h.o.Workspace.Background(ctx))
	})
}

func (h *Hub) leave(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
	if len(h.watchers) > 0 {
		h.setPace()
		return
	}
	if h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

// publish hands a host's figures to the watchers. h.mu must be held.
func (h *Hub) publish(host *host) {
	f := h.figures(host)
	for w := range h.watchers {
		w.add(f)
	}
}

// Finding returns what is now found of an instance under this id, and the same finding of instances that share its
// host: all of them by the instance's id. It is empty where nothing is found.
func (h *Hub) Finding(instance, id string) map[string]gpu.Finding {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string]gpu.Finding{}
	about := ""
	if x := h.hosts[instance]; x != nil {
		for i := range x.found {
			if a := &x.found[i]; a.ID == id {
				about, out[instance] = a.About(instance), a.Finding
			}
		}
	}
	for other, o := range h.hosts {
		for i := range o.found {
			if a := &o.found[i]; about != "" && a.About(other) == about {
				out[other] = a.Finding
			}
		}
	}
	return out
}
