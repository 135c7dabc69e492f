package workspace

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/coalesce"
)

// How often a provider is asked while somebody looks. Nobody looking: not at all.
const (
	reconcileEvery = 5 * time.Second
	probeEvery     = 30 * time.Second // instances that must be asked one by one
	parallelProbes = 8
)

// How much of the past is kept.
const (
	keepEvents     = 100_000
	keepOperations = 30 * 24 * time.Hour
)

// Reconciler asks the providers how machines are. Each backend has a loop of its own: one that hangs keeps no other's
// machines from being seen.
type Reconciler struct {
	w     *Workspace
	loops map[string]*loop // by backend

	mu       sync.Mutex
	watchers int
	closed   bool
	wg       sync.WaitGroup // looks that a listing began and no longer waits for
}

func newReconciler(w *Workspace) *Reconciler {
	r := &Reconciler{w: w, loops: map[string]*loop{}}
	for name, b := range w.opts.Backends {
		r.loops[name] = &loop{r: r, w: w, name: name, b: b, info: b.Info(), wake: coalesce.NewSignal()}
	}
	return r
}

// close waits for what a listing left behind.
func (r *Reconciler) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.wg.Wait()
}

// Watch says that a client looks at the fleet, whose accounts are looked at with its environment meanwhile; call the
// returned function when it no longer does.
func (r *Reconciler) Watch(ctx context.Context) (done func()) {
	leave := r.w.accounts.watch(backend.CallerFrom(ctx))
	count := func(n int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.watchers += n
	}
	count(1)
	r.Wake()
	return sync.OnceFunc(func() {
		count(-1)
		leave()
	})
}

func (r *Reconciler) watched() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.watchers > 0
}

// Wake makes every loop look now.
func (r *Reconciler) Wake() {
	for name := range r.loops {
		r.wake(name)
	}
}

// wake makes one backend's loop look now.
func (r *Reconciler) wake(name string) {
	if l := r.loops[name]; l != nil {
		l.wake.Send()
	}
}

// changedPause is how long what a provider tells is gathered before it is asked once for all of it.
const changedPause = 100 * time.Millisecond

// Changed has the machines of a backend looked at, which says that one of them, or any (""), was changed. What an
// operation is changing, it looks at itself.
func (r *Reconciler) Changed(name, id string) {
	w, l := r.w, r.loops[name]
	if l == nil || w.underWay(name, id) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told {
		return
	}
	l.told = true
	time.AfterFunc(changedPause, func() {
		l.mu.Lock()
		l.told = false
		l.mu.Unlock()
		l.wake.Send()
	})
}

// underWay reports whether an operation is changing the machine with that id.
func (w *Workspace) underWay(name, id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.entries {
		if id != "" && e.rec.Backend == name && e.rec.ProviderID == id {
			return e.run != nil
		}
	}
	return false
}

// Run reconciles until ctx or the workspace ends. While nobody looks it sleeps.
func (r *Reconciler) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, l := range r.loops {
		wg.Go(func() { l.run(ctx) })
	}
	if err := r.w.opts.Store.Trim(ctx, keepEvents, r.w.now().Add(-keepOperations)); err != nil && ctx.Err() == nil {
		r.w.log.Warn("trimming the store", "error", err)
	}
	wg.Wait()
}

// Reconcile asks every backend that has a list for its machines, in parallel, one bulk call each.
func (r *Reconciler) Reconcile(ctx context.Context) {
	var g errgroup.Group
	for _, l := range r.loops {
		g.Go(func() error {
			l.reconcile(ctx)
			return nil
		})
	}
	_ = g.Wait() // they report their own errors
}

const (
	// glance is how long a listing waits for a provider that could not be asked last time.
	glance = 250 * time.Millisecond
	// freshFor is how old what is shown may be, and how long a listing waits at most.
	freshFor = time.Second
)

// Fresh makes sure that what can be asked on this host at no cost is not older than a second: a listing shows what is,
// though nobody watched. A provider that could not be asked is tried again, so that instances are not "unknown" for
// longer than it is away. It takes a second at most, and waits for no provider that has hung for longer.
func (r *Reconciler) Fresh(ctx context.Context) {
	cctx, cancel := context.WithTimeout(ctx, freshFor)
	defer cancel()
	lost := r.w.lostSight()
	var looks []<-chan struct{}
	for name, l := range r.loops {
		most := time.Duration(0)
		switch {
		case l.info.Private:
			most = r.w.limits.Call
		case !r.w.accounts.tried(ctx, name): // whose machines may never have been seen
			most = r.w.limits.Call
		case lost[name]:
			most = glance
		}
		if look := l.fresh(ctx, most); look != nil {
			looks = append(looks, look)
		}
	}
	for _, look := range looks {
		select {
		case <-look:
		case <-cctx.Done():
			return // a provider, or the disk, is slow: what is known is shown
		}
	}
	if len(lost) > 0 {
		for name := range r.w.lostSight() {
			r.wake(name) // with as much time as it takes
		}
	}
}

// lostSight are the backends with machines of which it is not known what they are.
func (w *Workspace) lostSight() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]bool{}
	for _, e := range w.entries {
		if e.run == nil && !e.rec.Adopted && e.rec.State == api.StateUnknown {
			out[e.rec.Backend] = true
		}
	}
	return out
}

// loop looks after the machines of one backend.
type loop struct {
	r    *Reconciler
	w    *Workspace
	name string
	b    backend.Backend
	info backend.Info
	wake coalesce.Signal

	mu       sync.Mutex
	underWay chan struct{} // the asking that is under way, closed at its end; nil: none
	since    time.Time     // when that began
	last     time.Time     // when the last one ended
	told     bool          // it is looked soon, because the provider told of a change
}

// run is the loop.
func (l *loop) run(ctx context.Context) {
	w := l.w
	reconcile := func() error { l.reconcile(ctx); return nil }
	_ = w.guard("reconciling "+l.name, reconcile) // it is in the log
	w.upgradeAgents(w.background(ctx), l.name)
	var lastProbe time.Time
	t := time.NewTimer(reconcileEvery)
	defer t.Stop()
	for {
		looking := l.r.watched()
		var tick <-chan time.Time
		if looking {
			t.Reset(reconcileEvery)
			tick = t.C
		}
		select {
		case <-ctx.Done():
			return
		case <-w.operations.Context().Done():
			return
		case <-l.wake:
		case <-tick:
		}
		_ = w.guard("reconciling "+l.name, reconcile)
		bctx := w.background(ctx)
		suspects := w.takeSuspects(l.name)
		w.each(suspects, func(id string) { _ = w.observe(bctx, id, nil, false) }) // it is shown
		w.lookLater(suspects)
		if now := time.Now(); looking && now.Sub(lastProbe) > probeEvery {
			lastProbe = now
			w.probeAll(bctx, l.name)
		}
	}
}

// begin takes the place of the one who asks; end gives it back. Where it is taken, busy is closed when it is free.
func (l *loop) begin() (end func(), busy <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.underWay != nil {
		return nil, l.underWay
	}
	l.underWay, l.since = make(chan struct{}), time.Now()
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		close(l.underWay)
		l.underWay, l.last = nil, time.Now()
	}, nil
}

// reconcile asks for the lists of the machines of all accounts, one after another, each with as much time as a call may
// take. Somebody's own environment sees one account alone.
func (l *loop) reconcile(ctx context.Context) {
	if !l.info.Capabilities.List {
		return
	}
	for {
		end, busy := l.begin()
		if end != nil {
			defer end()
			if c := backend.CallerFrom(ctx); len(c.Env) > 0 {
				l.ask(ctx, l.w.limits.Call, view{caller: c})
				return
			}
			for _, v := range l.w.accounts.views(l.name) {
				l.ask(backend.WithCaller(ctx, v.caller), l.w.limits.Call, v)
			}
			return
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return
		}
	}
}

// fresh begins to ask for a list for at most that long (0: not at all), where the last one is not fresh. What it
// returns is closed when that has ended, or an asking that is under way already; nil: there is nothing to wait for.
func (l *loop) fresh(ctx context.Context, most time.Duration) <-chan struct{} {
	if !l.info.Capabilities.List {
		return nil
	}
	l.mu.Lock()
	under, since, last := l.underWay, l.since, l.last
	l.mu.Unlock()
	switch {
	case under != nil && time.Since(since) > freshFor:
		return nil // it hangs
	case under != nil:
		return under
	case most == 0 || time.Since(last) <= freshFor:
		return nil
	}
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	if l.r.closed {
		return nil
	}
	end, busy := l.begin()
	if end == nil {
		return busy
	}
	l.mu.Lock()
	look := l.underWay
	l.mu.Unlock()
	// Who asked for the listing may go before the answer is here.
	cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), freshFor)
	stop := context.AfterFunc(l.w.operations.Context(), cancel)
	l.r.wg.Go(func() {
		defer cancel()
		defer stop()
		defer end()
		l.ask(l.w.inPlaceOf(cctx, l.name, ""), most, view{})
	})
	return look
}

// ask lists the machines that the environment of ctx sees, within a time. It is for whoever has the place.
func (l *loop) ask(ctx context.Context, most time.Duration, v view) {
	cctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	began := l.w.now()
	account, err := l.w.accounts.ask(cctx, l.name)
	signed := err == nil
	var ms []backend.Machine
	if signed {
		l.w.whoamiOf(cctx, l.name, l.b)
		began = l.w.now()
		ms, err = guarded(l.w, "listing the machines of "+l.name, func() ([]backend.Machine, error) { return l.b.List(cctx) })
	} else {
		account = v.account
	}
	if signed && v.known && account != v.account {
		l.w.accounts.moved(l.name, v)
	}
	switch {
	case ctx.Err() != nil || err != nil && most == glance: // who asked did not wait long enough to know
	case err != nil && (!signed && !v.known || l.w.accounts.lacks(ctx, l.name, account, err)):
		l.w.log.Debug("signing in to a backend", "backend", l.name, "error", err) // of which account, nobody knows
	case err != nil:
		l.w.log.Warn("listing a backend's machines", "backend", l.name, "account", account, "error", err)
		l.w.listFailed(l.name, account, err)
	default:
		l.w.listed(l.name, account, l.info.Private, ms, began)
		l.w.retag(ctx, l.name, ms)
	}
}
