package workspace

import (
	"context"
	"errors"
	"slices"

	"berth/backend"
	"berth/backend/service/store"
)

// difference is what is to be written of c: its instances are compared with those in memory.
func (w *Workspace) difference(c *store.Change) (*store.Change, error) {
	was := make([]*store.Instance, len(c.Instances)) // nil: it is new
	func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for i := range c.Instances {
			if e := w.entries[c.Instances[i].ID]; e != nil {
				was[i] = new(e.rec)
			}
		}
	}()
	write := *c
	write.Instances = nil
	for i := range c.Instances {
		if err := write.Put(was[i], &c.Instances[i]); err != nil {
			return nil, err
		}
	}
	return &write, nil
}

// landed reports whether a change that the store said it failed to write is there all the same, as where an answer was
// lost. That can be told of one that brings an operation or an instance, by its id; who writes another one again meets
// a conflict.
func (w *Workspace) landed(c *store.Change) bool {
	ctx := context.Background()
	for i := range c.Operations {
		if op := &c.Operations[i]; op.Revision == 0 {
			has, err := w.opts.Store.Operation(ctx, op.ID)
			return err == nil && has.CreatedAt.Equal(op.CreatedAt) // a request may come twice
		}
	}
	for i := range c.Instances {
		if in := &c.Instances[i]; in.Revision == 0 {
			_, err := w.opts.Store.Instance(ctx, in.ID)
			return err == nil
		}
	}
	return false
}

// reread makes memory what the store has of what could not be written because of another revision: somebody else wrote
// it, or the store failed after it had written it. The turns of c's instances must be held.
func (w *Workspace) reread(c *store.Change) {
	ctx := context.Background() // as for what is written
	ids := map[string]bool{}
	for i := range c.Instances {
		ids[c.Instances[i].ID] = true
	}
	for _, r := range c.RemoveInstances {
		ids[r.ID] = true
	}
	for _, d := range slices.Concat(c.Documents, c.RemoveDocuments) {
		ids[d.InstanceID] = true
	}
	has := &store.Change{}
	for id := range ids {
		rec, err := store.Read(ctx, w.opts.Store, id)
		switch {
		case err == nil:
			has.Instances = append(has.Instances, rec)
		case errors.Is(err, backend.ErrNotFound):
			has.RemoveInstances = append(has.RemoveInstances, store.Removal{ID: id})
		default:
			w.log.Error("reading anew what another has written", "instance", id, "error", err)
		}
	}
	for i := range c.Operations {
		op, err := w.opts.Store.Operation(ctx, c.Operations[i].ID)
		if err == nil {
			has.Operations = append(has.Operations, op)
		} else if !errors.Is(err, backend.ErrNotFound) {
			w.log.Error("reading anew what another has written", "operation", c.Operations[i].ID, "error", err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.show(has, nil)
}
