package workspace

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// How often the provider is asked while somebody looks. Nobody looking: not at all.
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

// Watch says that a client looks at the fleet; call the returned function when it no longer does.
func (w *Workspace) Watch() (done func()) {
	w.mu.Lock()
	w.watchers++
	w.mu.Unlock()
	w.Wake()
	var once sync.Once
	return func() {
		once.Do(func() {
			w.mu.Lock()
			w.watchers--
			w.mu.Unlock()
		})
	}
}

// upgradeAgents offers this build to the agents that backends start themselves; over SSH the lines do
// so at the first contact.
func (w *Workspace) upgradeAgents(ctx context.Context) {
	w.mu.Lock()
	var ids []string
	for id, e := range w.entries {
		if _, ok := w.opts.Backends[e.rec.Backend].(backend.Upgrader); ok && e.run == nil && !e.rec.Adopted && e.rec.State == api.StateRunning {
			ids = append(ids, id)
		}
	}
	w.mu.Unlock()
	w.each(ids, func(id string) {
		rec, err := w.Record(id)
		if err != nil {
			return // deleted meanwhile
		}
		if err := w.opts.Backends[rec.Backend].(backend.Upgrader).Upgrade(ctx, ref(&rec)); err != nil && ctx.Err() == nil {
			w.log.Warn("upgrading an agent", "instance", rec.Name, "error", err)
		}
	})
}

// Wake makes the reconciler look now.
func (w *Workspace) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run reconciles until ctx or the workspace ends. While nobody looks it sleeps.
func (w *Workspace) Run(ctx context.Context) {
	reconcile := func() error { w.Reconcile(w.background(ctx)); return nil }
	_ = w.guard("reconciling", reconcile) // it is in the log
	if err := w.opts.Store.Trim(ctx, keepEvents, w.now().Add(-keepOperations)); err != nil && ctx.Err() == nil {
		w.log.Warn("trimming the store", "error", err)
	}
	w.upgradeAgents(ctx)
	var lastProbe time.Time
	t := time.NewTimer(reconcileEvery)
	defer t.Stop()
	for {
		w.mu.Lock()
		looking := w.watchers > 0
		w.mu.Unlock()
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
		case <-w.wake:
		case <-tick:
		}
		_ = w.guard("reconciling", reconcile)
		suspects := w.takeSuspects()
		w.each(suspects, func(id string) { w.observe(ctx, id, nil, false) })
		w.lookLater(suspects)
		if now := time.Now(); looking && now.Sub(lastProbe) > probeEvery {
			lastProbe = now
			w.probeAll(w.background(ctx))
		}
	}
}

// Reconcile asks every backend that has a list for its machines, in parallel, one bulk call each.
func (w *Workspace) Reconcile(ctx context.Context) {
	select {
	case w.reconciling <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-w.reconciling }()
	w.ask(ctx, func(string, backend.Info) time.Duration { return w.limits.Call })
}

// glance is how long a listing waits for a provider that could not be asked last time.
const glance = 250 * time.Millisecond

// Fresh makes sure that what can be asked on this host at no cost is not older than a second: a
// listing shows what is, though nobody watched. A provider that could not be asked is tried again, so that
// instances are not "unknown" for longer than it is away. It takes a second at most.
func (w *Workspace) Fresh(ctx context.Context) {
	cctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	select {
	case w.reconciling <- struct{}{}: // a look that is under way is waited for
	case <-cctx.Done():
		return // a provider is slow: what is known is shown
	}
	defer func() { <-w.reconciling }()
	if time.Since(w.lastReconcile) <= time.Second {
		return
	}
	lost := w.lostSight()
	w.ask(cctx, func(name string, info backend.Info) time.Duration {
		switch {
		case info.Private:
			return w.limits.Call
		case lost[name]:
			return glance
		}
		return 0
	})
	if len(lost) > 0 && len(w.lostSight()) > 0 {
		w.Wake() // with as much time as it takes
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

// ask lists the machines of every backend that has a list and that limit gives time for. It is for whoever has
// the place in w.reconciling.
func (w *Workspace) ask(ctx context.Context, limit func(name string, info backend.Info) time.Duration) {
	defer func() { w.lastReconcile = time.Now() }()
	var g errgroup.Group
	for name, b := range w.opts.Backends {
		info := b.Info()
		if !info.Capabilities.List {
			continue
		}
		most := limit(name, info)
		if most == 0 {
			continue
		}
		g.Go(func() error {
			cctx, cancel := context.WithTimeout(ctx, most)
			defer cancel()
			w.whoamiOf(cctx, name, b)
			began := w.now()
			ms, err := guarded(w, "listing the machines of "+name, func() ([]backend.Machine, error) { return b.List(cctx) })
			if ctx.Err() != nil || err != nil && most == glance {
				return nil
			}
			if err != nil {
				w.log.Warn("listing a backend's machines", "backend", name, "error", err)
				w.listFailed(name, err)
				return nil
			}
			w.listed(ctx, name, info.Private, ms, began)
			return nil
		})
	}
	_ = g.Wait() // the functions report their own errors
}

// listed merges a complete list of a backend's machines, which becomes its own, that was asked for at began.
func (w *Workspace) listed(ctx context.Context, name string, private bool, ms []backend.Machine, began time.Time) {
	byToken, byID := map[string]*backend.Machine{}, map[string]*backend.Machine{}
	for i := range ms {
		ms[i] = sane(ms[i])
		if ms[i].ID != "" { // pages that overlap repeat a machine: one of them counts
			byID[ms[i].ID] = &ms[i]
		}
	}
	for _, m := range byID {
		if m.Token != "" {
			byToken[m.Token] = m
		}
	}
	// What is being written just now is merged when that is done; the others don't wait for it.
	free, busy := w.claimAll(name)
	func() {
		defer release(free)
		w.mergeList(ctx, list{name, private, byID, byToken, began}, free, true)
	}()
	for _, id := range busy {
		e, done, err := w.claim(id)
		if err != nil {
			continue // deleted meanwhile
		}
		func() {
			defer done()
			w.mergeList(ctx, list{name, private, byID, byToken, began}, []*entry{e}, false)
		}()
	}
}

// claimAll claims the instances of a backend of which nothing is being written. Of the others it returns the ids.
func (w *Workspace) claimAll(name string) (free []*entry, busy []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, e := range w.entries {
		switch {
		case e.rec.Backend != name:
		case e.turn.TryLock():
			free = append(free, e)
		default:
			busy = append(busy, id)
		}
	}
	return free, busy
}

// release gives back the turns of instances.
func release(es []*entry) {
	for _, e := range es {
		e.turn.Unlock()
	}
}

// list is a complete list of a backend's machines.
type list struct {
	name    string
	private bool
	byID    map[string]*backend.Machine
	byToken map[string]*backend.Machine
	began   time.Time // when it was asked for
}

// mergeList merges a list into the records of instances whose turns are held. With take, machines that are not known
// are taken into the fleet; it is asked for once a list.
func (w *Workspace) mergeList(ctx context.Context, l list, es []*entry, take bool) {
	var c store.Change
	var arriving []string // names that are reserved
	func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, e := range es {
			w.mergeListed(&c, &l, e)
		}
		if take {
			arriving = w.takeIn(&c, &l)
		}
	}()
	if err := w.commit(&c, nil); err != nil {
		w.log.Error("writing what a backend says", "backend", l.name, "error", err)
	}
	for _, key := range arriving {
		w.arrived(key)
	}
}

// of is the machine of a record.
func (l *list) of(rec *store.Instance) *backend.Machine {
	if m := l.byID[rec.ProviderID]; m != nil {
		return m
	}
	return l.byToken[rec.Token]
}

// mergeListed adds to c what a list says of one instance. w.mu must be held.
func (w *Workspace) mergeListed(c *store.Change, l *list, e *entry) {
	// What an operation is changing, it observes itself; what came after the list is not in it.
	if e.run != nil || e.rec.Adopted || e.rec.CreatedAt.After(l.began) || e.rec.State == api.StateCreateFailed {
		return
	}
	rec := e.rec
	if m := l.of(&rec); m == nil {
		rec.ObservedAt = ptr(w.now().UTC())
		w.setState(&rec, api.StateUnusable, "its machine is gone: it was deleted outside Berth")
	} else {
		w.merge(&rec, m)
	}
	w.observed(c, e, rec)
}

// observed adds to c what was seen of an instance. w.mu must be held.
func (w *Workspace) observed(c *store.Change, e *entry, rec store.Instance) {
	if sameRecord(&rec, &e.rec) {
		e.rec.ObservedAt = rec.ObservedAt
		return
	}
	c.Instances = append(c.Instances, rec)
	if rec.State != e.rec.State {
		c.Events = append(c.Events, w.event("instance.state", "info", &rec, nil, "", "is now %s%s", rec.State, because(rec.StateReason)))
	}
}

// takeIn adds to c the live machines of a list that nobody knows. Their names, which it returns, are reserved until they
// are in the store. w.mu must be held.
func (w *Workspace) takeIn(c *store.Change, l *list) (arriving []string) {
	known := map[*backend.Machine]bool{}
	for _, e := range w.entries {
		if m := l.of(&e.rec); m != nil && e.rec.Backend == l.name {
			known[m] = true
		}
	}
	for _, m := range l.byID {
		if w.gone[l.name+"/"+m.ID].After(l.began) || (m.Token != "" && w.gone[l.name+"/"+m.Token].After(l.began)) {
			continue // deleted while the list was on its way
		}
		if known[m] || !(l.private || m.Tags[backend.TagWorkspace] == w.id) || m.State == api.StateDeleting {
			continue
		}
		rec := w.imported(l.name, m)
		key := strings.ToLower(rec.Name)
		if w.arriving[key] == nil {
			w.arriving[key] = &arrival{done: make(chan struct{})}
			arriving = append(arriving, key)
		}
		c.Instances = append(c.Instances, rec)
		c.Events = append(c.Events, w.event("instance.imported", "info", &rec, nil, "", "found at backend %s and taken into the fleet", l.name))
	}
	maps.DeleteFunc(w.gone, func(key string, at time.Time) bool {
		return strings.HasPrefix(key, l.name+"/") && !at.After(l.began)
	})
	return arriving
}

// imported makes the record of a live machine that the store does not know. w.mu must be held.
func (w *Workspace) imported(name string, m *backend.Machine) store.Instance {
	rec := store.Instance{Instance: api.Instance{ID: newID("i-"), Name: orElse(m.Name, m.ID), Backend: name, CreatedAt: m.CreatedAt}, Token: m.Token}
	taken := func(n string) bool {
		for _, e := range w.entries {
			if e.rec.Backend == name && strings.EqualFold(e.rec.Name, n) {
				return true
			}
		}
		for key := range w.arriving {
			if strings.EqualFold(key, n) {
				return true
			}
		}
		return false
	}
	for _, more := range []string{"-" + rec.ID[len(rec.ID)-4:], "-" + rec.ID} { // same backend and name: two stores made it
		if taken(rec.Name) {
			rec.Name = orElse(m.Name, m.ID) + more
		}
	}
	w.merge(&rec, m)
	return rec
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// listFailed shows the instances of a backend that can't be asked as unknown.
func (w *Workspace) listFailed(name string, cause error) {
	unknown := func(es []*entry) {
		var c store.Change
		func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, e := range es {
				if e.run == nil && e.rec.State != api.StateUnknown && e.rec.State != api.StateCreateFailed {
					rec := e.rec
					w.setState(&rec, api.StateUnknown, cause.Error())
					c.Instances = append(c.Instances, rec)
				}
			}
		}()
		if err := w.commit(&c, nil); err != nil {
			w.log.Error("writing what a backend says", "backend", name, "error", err)
		}
	}
	free, busy := w.claimAll(name)
	func() {
		defer release(free)
		unknown(free)
	}()
	for _, id := range busy {
		if e, done, err := w.claim(id); err == nil {
			func() {
				defer done()
				unknown([]*entry{e})
			}()
		}
	}
}

// probeAll asks, one by one, the instances whose backend has no list, and the agents for how long
// they have been idle.
func (w *Workspace) probeAll(ctx context.Context) {
	ids, agents := w.toProbe()
	w.each(ids, func(id string) { w.observe(ctx, id, nil, false) })
	w.each(agents, func(id string) { w.lookAtAgent(ctx, id) })
}

// toProbe are the instances whose provider is asked one by one, and those whose agent is asked.
func (w *Workspace) toProbe() (ids, agents []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, e := range w.entries {
		b := w.opts.Backends[e.rec.Backend]
		if b == nil || e.run != nil {
			continue
		}
		if !b.Info().Capabilities.List || e.rec.Adopted {
			ids = append(ids, id)
		}
		if e.rec.State == api.StateRunning || e.rec.State == api.StateUnusable && e.rec.Unreached != "" {
			agents = append(agents, id)
		}
	}
	return ids, agents
}

// each runs f for every id, some at a time, and waits.
func (w *Workspace) each(ids []string, f func(id string)) {
	var g errgroup.Group
	g.SetLimit(parallelProbes)
	for _, id := range ids {
		g.Go(func() error { return w.guard("looking at an instance", func() error { f(id); return nil }) })
	}
	_ = g.Wait() // the functions report their own errors, guard panics
}

// observe asks the provider for one machine and shows what it says, unless an operation other than own
// is changing it. With ask, questions may be put to the caller of ctx.
func (w *Workspace) observe(ctx context.Context, id string, own *operation.Run, ask bool) {
	w.mu.Lock()
	e := w.entries[id]
	if e == nil {
		w.mu.Unlock()
		return
	}
	rec := e.rec
	w.mu.Unlock()
	b := w.opts.Backends[rec.Backend]
	if b == nil {
		return
	}
	ctx = w.inPlaceOf(ctx, id, ask)
	cctx, cancel := context.WithTimeout(ctx, w.limits.Call)
	m, err := guarded(w, "looking at "+rec.Name, func() (backend.Machine, error) { return b.Get(cctx, ref(&rec)) })
	cancel()
	if ctx.Err() != nil {
		return
	}
	uerr := w.update(id, func(e *entry) *store.Change {
		c := &store.Change{}
		if e == nil || e.run != own || !e.rec.UpdatedAt.Equal(rec.UpdatedAt) {
			return c // an operation began or ended meanwhile: the answer is older than what it knows
		}
		now := e.rec
		switch {
		case err == nil:
			w.merge(&now, &m)
		case errors.Is(err, backend.ErrNotFound):
			w.setState(&now, api.StateUnusable, "its machine is gone: "+err.Error())
		default:
			w.setState(&now, api.StateUnknown, err.Error())
		}
		w.observed(c, e, now)
		return c
	})
	if uerr != nil {
		w.log.Error("writing what a backend says", "instance", rec.Name, "error", uerr)
	}
}

func (w *Workspace) lookAtAgent(ctx context.Context, id string) {
	w.mu.Lock()
	e := w.entries[id]
	if e == nil || e.run != nil {
		w.mu.Unlock()
		return
	}
	rec := e.rec
	w.mu.Unlock()
	cctx, cancel := context.WithTimeout(w.inPlaceOf(ctx, id, true), 20*time.Second)
	defer cancel()
	client := w.AgentClient(rec)
	defer client.Close()
	info, err := client.Info(cctx)
	if err != nil {
		var un *AgentUnavailable
		if errors.As(err, &un) {
			w.agentStatus(id, &api.AgentStatus{State: "unavailable", Reason: un.Reason, Transport: "ssh"})
		} else if ctx.Err() == nil {
			w.agentStatus(id, &api.AgentStatus{State: "connecting", Reason: err.Error()})
		}
		return
	}
	if err := w.agentSeen(ctx, id, &info); err != nil {
		w.log.Warn("writing what an agent says", "instance", rec.Name, "error", err)
	}
}

// showLimit is how long an agent may take to say something of itself for Show.
const showLimit = 2 * time.Second

// Show returns one instance with what its agent says of itself now, where the way to it is there already:
// nobody is asked anything for it, and an agent that does not answer in time changes nothing.
func (w *Workspace) Show(ctx context.Context, name string) (api.Instance, error) {
	w.mu.Lock()
	e, err := w.find(name)
	if err != nil {
		w.mu.Unlock()
		return api.Instance{}, err
	}
	rec := e.rec
	_, down := w.down[rec.ID]
	ready := rec.Line.Socket != "" || e.agent != nil && e.agent.State == "ready"
	ask := ready && !down && e.run == nil && rec.State == api.StateRunning
	w.mu.Unlock()
	if ask {
		cctx, cancel := context.WithTimeout(w.inPlaceOf(ctx, rec.ID, false), showLimit)
		defer cancel()
		client := w.AgentClient(rec)
		defer client.Close()
		if info, err := client.Info(cctx); err == nil {
			if err := w.agentSeen(ctx, rec.ID, &info); err != nil {
				w.log.Warn("writing what an agent says", "instance", rec.Name, "error", err)
			}
		}
	}
	return w.Instance(rec.ID)
}

// Refresh asks the provider and the agent for one instance now and returns it.
func (w *Workspace) Refresh(ctx context.Context, name string) (api.Instance, error) {
	rec, err := w.Record(name)
	if err != nil {
		return api.Instance{}, err
	}
	w.observe(ctx, rec.ID, nil, true)
	w.mu.Lock()
	e := w.entries[rec.ID]
	running := e != nil && e.rec.State == api.StateRunning
	w.mu.Unlock()
	if running {
		w.lookAtAgent(ctx, rec.ID)
	}
	return w.Instance(rec.ID)
}
