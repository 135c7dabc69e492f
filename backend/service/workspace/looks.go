package workspace

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// probeAll asks, one by one, for the instances of a backend that its list does not have, and asks the agents how long
// they have been idle.
func (w *Workspace) probeAll(ctx context.Context, name string) {
	ids, agents := w.toProbe(name)
	w.each(ids, func(id string) { _ = w.observe(ctx, id, nil, false) }) // it is shown
	w.each(agents, func(id string) { w.lookAtAgent(ctx, id) })
}

// toProbe are the instances whose provider is asked one by one, and those whose agent is asked.
func (w *Workspace) toProbe(name string) (ids, agents []string) {
	b := w.opts.Backends[name]
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, e := range w.entries {
		if e.rec.Backend != name || b == nil || e.run != nil {
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

// upgradeAgents offers this build to the agents that a backend starts itself; over SSH the lines do so at the first
// contact.
func (w *Workspace) upgradeAgents(ctx context.Context, name string) {
	up, ok := w.opts.Backends[name].(backend.Upgrader)
	if !ok {
		return
	}
	var ids []string
	func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for id, e := range w.entries {
			if e.rec.Backend == name && e.run == nil && !e.rec.Adopted && e.rec.State == api.StateRunning {
				ids = append(ids, id)
			}
		}
	}()
	w.each(ids, func(id string) {
		rec, err := w.Record(id)
		if err != nil {
			return // deleted meanwhile
		}
		if err := up.Upgrade(w.inPlaceOf(ctx, rec.Backend, rec.Account), ref(&rec)); err != nil && ctx.Err() == nil {
			w.log.Warn("upgrading an agent", "instance", rec.Name, "error", err)
		}
	})
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
// is changing it. With ask, questions may be put to the caller of ctx. Who signs in to another account learns nothing;
// the error says that a caller could not sign in.
func (w *Workspace) observe(ctx context.Context, id string, own *operation.Run, ask bool) error {
	rec, err := w.Record(id)
	b := w.opts.Backends[rec.Backend]
	if err != nil || b == nil {
		return nil // deleted meanwhile
	}
	person := len(backend.CallerFrom(ctx).Env) > 0 && own == nil
	ctx = w.inPlaceOf(ctx, rec.Backend, rec.Account)
	if !ask {
		ctx = unasked(ctx)
	}
	which := w.accounts.of
	if rec.Account == "" { // it is kept
		which = w.accounts.ask
	}
	account, err := which(ctx, rec.Backend)
	switch {
	case err != nil && (person || w.accounts.lacks(ctx, rec.Backend, rec.Account, err)):
		return err
	case err == nil && rec.Account != "" && account != rec.Account:
		return nil
	}
	cctx, cancel := context.WithTimeout(ctx, w.limits.Call)
	defer cancel()
	var m backend.Machine
	if err == nil {
		m, err = guarded(w, "looking at "+rec.Name, func() (backend.Machine, error) { return b.Get(cctx, ref(&rec)) })
		err = w.accounts.missing(cctx, &rec, err)
	}
	switch {
	case ctx.Err() != nil || errors.As(err, new(foreignError)):
		return nil
	case w.accounts.lacks(ctx, rec.Backend, rec.Account, err):
		return err
	}
	uerr := w.update(id, func(e *entry) *store.Change {
		c := &store.Change{}
		if e == nil || e.run != own || !e.rec.UpdatedAt.Equal(rec.UpdatedAt) {
			return c // an operation began or ended meanwhile: the answer is older than what it knows
		}
		now := e.rec
		switch {
		case err == nil:
			now.Account = orElse(now.Account, account)
			w.merge(&now, &m)
		case errors.Is(err, backend.ErrNotFound) && account == now.Account:
			w.setState(&now, api.StateUnusable, "its machine is gone: "+err.Error())
		case errors.Is(err, backend.ErrNotFound):
			w.setState(&now, api.StateUnknown, elsewhere(account))
		default:
			w.setState(&now, api.StateUnknown, err.Error())
		}
		w.observed(c, e, now)
		return c
	})
	if uerr != nil {
		w.log.Error("writing what a backend says", "instance", rec.Name, "error", uerr)
	}
	return nil
}

// elsewhere says why it is not known what an instance is that an older build made.
func elsewhere(account string) string {
	return "it is not known in which account it was made, and it is not in " + account
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
	cctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	client := w.AgentClient(rec)
	defer client.Close()
	info, ahead, err := client.InfoAndClock(cctx)
	if err != nil {
		var un *backend.AgentUnavailable
		if errors.As(err, &un) {
			w.agentStatus(id, &api.AgentStatus{State: "unavailable", Reason: un.Reason, Transport: "ssh"})
		} else if ctx.Err() == nil {
			w.agentStatus(id, &api.AgentStatus{State: "connecting", Reason: err.Error()})
		}
		return
	}
	if err := w.agentSeen(ctx, id, &info, ahead); err != nil {
		w.log.Warn("writing what an agent says", "instance", rec.Name, "error", err)
	}
}

// showLimit is how long an agent may take to say something of itself for Show.
const showLimit = 2 * time.Second

// Show returns one instance with what its agent says of itself now, where the way to it is there already:
// nobody is asked anything for it, and an agent that does not answer in time changes nothing.
func (r *Reconciler) Show(ctx context.Context, name string) (api.Instance, error) {
	w := r.w
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
		cctx, cancel := context.WithTimeout(unasked(ctx), showLimit)
		defer cancel()
		client := w.AgentClient(rec)
		defer client.Close()
		if info, ahead, err := client.InfoAndClock(cctx); err == nil {
			if err := w.agentSeen(ctx, rec.ID, &info, ahead); err != nil {
				w.log.Warn("writing what an agent says", "instance", rec.Name, "error", err)
			}
		}
	}
	return w.Instance(ctx, rec.ID)
}

// Refresh asks the provider and the agent for one instance now and returns it.
func (r *Reconciler) Refresh(ctx context.Context, name string) (api.Instance, error) {
	w := r.w
	rec, err := w.Record(name)
	if err != nil {
		return api.Instance{}, err
	}
	if err := w.observe(ctx, rec.ID, nil, true); err != nil {
		return api.Instance{}, err
	}
	w.mu.Lock()
	e := w.entries[rec.ID]
	running := e != nil && e.rec.State == api.StateRunning
	w.mu.Unlock()
	if running {
		w.lookAtAgent(ctx, rec.ID)
	}
	return w.Instance(ctx, rec.ID)
}
