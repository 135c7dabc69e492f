package workspace

import (
	"context"
	"slices"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// transitions say, for each action, the state shown while it runs and the states in which there is
// nothing to do.
var transitions = map[string]struct {
	during api.State
	noop   []api.State
}{
	opStart:   {api.StateStarting, []api.State{api.StateRunning}},
	opStop:    {api.StateStopping, []api.State{api.StateStopped}},
	opRestart: {api.StateRestarting, nil},
	opDelete:  {api.StateDeleting, nil},
}

// Action starts, stops, restarts or deletes an instance. Where the same is under way already it returns that operation;
// where the instance is in the wanted state already it returns one that has ended.
func (w *Workspace) Action(ctx context.Context, name, kind string, q api.ActionRequest) (api.Operation, error) {
	tr, ok := transitions[kind]
	if !ok {
		return api.Operation{}, api.Errorf(api.CodeUsage, "there is no action %q: start, stop, restart, delete", kind)
	}
	if q.WhenIdle && (q.Force || kind != opStop && kind != opRestart) {
		return api.Operation{}, api.Errorf(api.CodeUsage, "only a stop or a restart waits for jobs, and none that is forced")
	}
	rec, err := w.Record(name)
	if err == nil {
		err = w.accounts.check(ctx, &rec, kind)
	}
	if err != nil {
		return api.Operation{}, err
	}
	for asked := false; ; {
		var ends *operation.Run // what is under way and is ended for this
		var look string         // the instance at which is looked first
		op, err := w.claimed(name, func(e *entry) (api.Operation, error) {
			now := w.look(e)
			if err := allowed(&now.rec, kind); err != nil {
				return api.Operation{}, err
			}
			switch cur := now.run; {
			case cur != nil && drains(cur) && (cur.Kind != kind || !q.WhenIdle):
				ends = cur
				return api.Operation{}, nil
			case cur != nil && cur.Kind == kind:
				return cur.Snapshot(), nil
			case cur != nil && !w.operations.Supersedes(kind, cur.Kind):
				return api.Operation{}, api.Errorf(api.CodeConflict, "%s of %s is under way since %s", cur.Kind, now.rec.Name,
					since(cur)).
					WithHint("wait for it (berth show %s), or delete the instance", now.rec.Name)
			case cur != nil:
				ends = cur
				return api.Operation{}, nil
			case !asked && slices.Contains(tr.noop, now.rec.State):
				// Nothing to do, by what was last seen: it may have been started elsewhere since, and be billed.
				look = now.rec.ID
				return api.Operation{}, nil
			}
			return w.act(ctx, now.rec, kind, tr.during, tr.noop, q)
		})
		switch {
		case err == nil && ends != nil:
			err = ends.GiveUp(ctx, kind)
		case err == nil && look != "":
			err = w.observe(ctx, look, nil, true)
			asked = true
		default:
			return op, err
		}
		if err != nil {
			return api.Operation{}, err
		}
	}
}

// act begins an action on an instance with nothing under way, whose turn must be held.
func (w *Workspace) act(ctx context.Context, rec store.Instance, kind string, during api.State, noop []api.State,
	q api.ActionRequest) (api.Operation, error) {
	if slices.Contains(noop, rec.State) {
		return w.doneAtOnce(ctx, &rec, store.Operation{Operation: api.Operation{ID: newID("op-"), Kind: kind}},
			&store.Change{}, nil)
	}
	if rec.State == api.StateStopped && kind == opRestart {
		return api.Operation{}, api.Errorf(api.CodeConflict, "%s is stopped", rec.Name).WithHint("berth start %s", rec.Name)
	}
	if rec.State == api.StateCreateFailed && kind != opDelete {
		return api.Operation{}, neverMade(&rec)
	}
	if !q.WhenIdle { // else it goes on running for now
		w.setState(&rec, during, "")
	}
	rec.Unreached = ""
	return w.begin(ctx, rec, store.Operation{Operation: api.Operation{ID: newID("op-"), Kind: kind}, Force: q.Force,
		WhenIdle: q.WhenIdle})
}

func neverMade(rec *store.Instance) error {
	return api.Errorf(api.CodeConflict, "%s was never made: %s", rec.Name, rec.StateReason).
		WithHint("berth rm %s, then create it again", rec.Name)
}

// allowed says, before anything is tried, whether the instance can do it.
func allowed(rec *store.Instance, kind string) error {
	c := rec.Capabilities
	can := map[string]bool{opStart: c.Start, opStop: c.Stop, opRestart: c.Restart, opDelete: true}[kind]
	if can {
		return nil
	}
	why := c.Why[kind]
	if why == "" && rec.Adopted {
		why = "it was adopted; Berth did not make it"
	}
	return api.Errorf(api.CodeUnsupported, "%s can't %s: %s", rec.Name, kind, orElse(why, "its backend has no such call"))
}

// whoamiOf returns who the backend acts for under the account of ctx, asking it once.
func (w *Workspace) whoamiOf(ctx context.Context, name string, b backend.Backend) string {
	account, err := w.accounts.of(ctx, name)
	if err != nil {
		w.log.Warn("asking a backend who it acts for", "backend", name, "error", err)
		return ""
	}
	key := accountKey{name, account}
	w.mu.Lock()
	me, ok := w.whoami[key]
	w.mu.Unlock()
	if ok {
		return me
	}
	me, err = within(ctx, w, "backend "+name, b.Whoami)
	if err != nil {
		w.log.Warn("asking a backend who it acts for", "backend", name, "error", err)
		return ""
	}
	me = backend.NormalIdentity(me)
	if err := w.learn(name, me); err != nil {
		w.log.Error("keeping who a backend acts for", "backend", name, "error", err)
		return me // it is asked and kept again
	}
	w.mu.Lock()
	w.whoami[key] = me
	w.mu.Unlock()
	return me
}
