package workspace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/backend/api"
	"berth/backend/service/store"
)

// Three locks, so that no reader waits for a disk:
//
//   - Workspace.mu guards what is in memory. No store, no provider and no agent is called while it is held.
//   - An entry's turn is held from a decision about the instance until what was decided is stored or has failed: two
//     decisions about one instance are never made on the same state. Who holds one does not wait for another.
//   - Names that are reserved for instances on their way into the store are in Workspace.arriving.
//
// What is in memory is what the store has: a change is computed on copies and shows when it is stored (commit).

// commit stores c, and shows it when it is stored: in memory and to subscribers. then, if not nil, is called in that
// moment, with w.mu held. Events may be in c; their Seq is set. When it fails nothing has changed. w.mu must not be
// held; the turns of the instances that c changes must be.
//
// Of the instances in c only that is written which is not as in memory: the instance itself, the documents of features.
func (w *Workspace) commit(c *store.Change, then func()) error {
	if c.Empty() {
		return nil
	}
	write, err := w.difference(c)
	if err != nil {
		return err
	}
	shown := func() {
		write.Written(c.Instances)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.show(c, then)
	}
	if write.Empty() {
		shown()
		return nil
	}
	err = w.writer.Write(write, shown)
	switch {
	case err != nil && w.landed(write):
		write.Landed()
		shown()
		return nil
	case errors.Is(err, &api.Error{Code: api.CodeConflict}):
		w.reread(write)
	}
	return err
}

// show makes a change that is stored visible. w.mu must be held.
func (w *Workspace) show(c *store.Change, then func()) {
	for i := range c.Operations {
		op := &c.Operations[i]
		r := w.operations.Get(op.ID)
		if r == nil {
			continue
		}
		r.Stored(*op)
		if e := w.entries[op.InstanceID]; op.State.Done() && e != nil && e.run == r {
			e.run, e.freed = nil, w.now()
			if op.State == api.OpFailed && !w.operations.Background(op.Kind) {
				e.lastOp = ptr(r.Snapshot())
			}
		}
	}
	for _, r := range c.RemoveInstances {
		if e := w.entries[r.ID]; e != nil {
			w.gone[e.rec.Backend+"/"+e.rec.ProviderID], w.gone[e.rec.Backend+"/"+e.rec.Token] = w.now(), w.now()
		}
		delete(w.entries, r.ID)
		delete(w.down, r.ID)
	}
	for _, rec := range c.Instances {
		if e := w.entries[rec.ID]; e != nil {
			e.rec = rec
		} else {
			w.entries[rec.ID] = &entry{rec: rec}
		}
	}
	if then != nil {
		then()
	}
	for _, r := range c.RemoveInstances {
		w.hub.publish(api.Change{Removed: r.ID})
	}
	for i := range c.Instances {
		e := w.entries[c.Instances[i].ID]
		e.post.stir()
		w.publish(e)
	}
	for _, ev := range c.Events {
		if ev.Seq > 0 { // it is known
			w.hub.publish(api.Change{Event: ev})
		}
	}
	for i := range c.Operations {
		if r := w.operations.Get(c.Operations[i].ID); r != nil {
			w.hub.publish(api.Change{Operation: ptr(r.Snapshot())})
			if e := w.entries[r.InstanceID]; e != nil {
				w.publish(e)
			}
		}
	}
}

// publish shows an instance to the subscribers. w.mu must be held.
func (w *Workspace) publish(e *entry) {
	if w.hub.empty() {
		return
	}
	in := w.public(e)
	w.hub.publish(api.Change{Instance: &in})
}

// claim waits for the turn of the instance of that name: until release is called, nobody else decides about it, and
// what was decided before is stored. w.mu must not be held.
func (w *Workspace) claim(name string) (e *entry, release func(), err error) {
	find := func() (*entry, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.find(name)
	}
	for {
		if e, err = find(); err != nil {
			return nil, nil, err
		}
		e.turn.Lock()
		now, err := find()
		if err == nil && now == e {
			return e, e.turn.Unlock, nil
		}
		e.turn.Unlock() // it was deleted meanwhile
		if err != nil {
			return nil, nil, err
		}
	}
}

// look returns copies of what is in memory of an instance.
func (w *Workspace) look(e *entry) seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	return seen{rec: e.rec, run: e.run, agent: e.agent}
}

// update stores what make returns of the instance of that id. make is called with the instance's turn and w.mu held,
// and works on copies; e is nil where the instance is gone.
func (w *Workspace) update(id string, make func(e *entry) *store.Change) error {
	_, release, err := w.claim(id)
	if err == nil {
		defer release()
	}
	c := func() *store.Change {
		w.mu.Lock()
		defer w.mu.Unlock()
		return make(w.entries[id])
	}()
	return w.commit(c, nil)
}

// persist is update, again while the store fails, until ctx ends.
func (w *Workspace) persist(ctx context.Context, id string, make func(e *entry) *store.Change) error {
	wait := 50 * time.Millisecond
	for {
		err := w.update(id, make)
		if err == nil {
			return nil
		}
		w.log.Error("writing the store", "error", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (the store could not be written: %w)", context.Cause(ctx), err)
		case <-time.After(wait):
			wait = min(2*wait, 5*time.Second)
		}
	}
}

// keep stores what change makes of the record of an instance; of one that is gone, nothing.
func (w *Workspace) keep(ctx context.Context, id string, change func(*store.Instance)) error {
	return w.persist(ctx, id, func(e *entry) *store.Change {
		if e == nil {
			return &store.Change{}
		}
		rec := e.rec
		change(&rec)
		return &store.Change{Instances: []store.Instance{rec}}
	})
}
