package workspace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// Snapshots takes snapshots of instances, and goes back to them.
type Snapshots struct{ w *Workspace }

// snapshotter returns the backend of an instance that keeps snapshots.
func (w *Workspace) snapshotter(rec *store.Instance) (backend.Snapshotter, error) {
	s, ok := w.opts.Backends[rec.Backend].(backend.Snapshotter)
	return s, capable(ok && rec.Capabilities.Snapshots && !rec.Adopted, rec, "taken a snapshot of", "snapshots")
}

// List lists the snapshots of an instance, oldest first.
func (sn Snapshots) List(ctx context.Context, name string) ([]api.Snapshot, error) {
	w := sn.w
	rec, err := w.Record(name)
	if err != nil {
		return nil, err
	}
	if rec.State == api.StateCreateFailed {
		return nil, neverMade(&rec)
	}
	s, err := w.snapshotter(&rec)
	if err != nil {
		return nil, err
	}
	if err := w.accounts.check(ctx, &rec, ""); err != nil {
		return nil, err
	}
	list, err := within(ctx, w, "backend "+rec.Backend, func(ctx context.Context) ([]api.Snapshot, error) {
		return s.Snapshots(ctx, ref(&rec))
	})
	if list == nil {
		list = []api.Snapshot{}
	}
	return list, err
}

// Take begins to take a snapshot.
func (sn Snapshots) Take(ctx context.Context, name string, q api.SnapshotRequest) (api.Operation, error) {
	w := sn.w
	snapshot := q.Name
	if op, done, err := w.repeated(ctx, q.RequestID, opSnapshot, name); done {
		return op, err
	}
	if err := CheckName(snapshot); err != nil {
		return api.Operation{}, err
	}
	list, err := w.Snapshots.List(ctx, name)
	if err != nil {
		return api.Operation{}, err
	}
	for _, s := range list {
		if s.Name == snapshot {
			return api.Operation{}, api.Errorf(api.CodeConflict, "%s has a snapshot %q already", name, snapshot).
				WithHint("berth snapshot ls %s", name)
		}
	}
	return w.other(ctx, name, opSnapshot, q.RequestID, func(_ *store.Instance, op *store.Operation) error {
		op.Snapshot = snapshot
		return nil
	}, func(*store.Instance) {})
}

// Restore begins to take an instance back to a snapshot.
func (sn Snapshots) Restore(ctx context.Context, name string, q api.SnapshotRequest) (api.Operation, error) {
	w := sn.w
	snapshot := q.Name
	if op, done, err := w.repeated(ctx, q.RequestID, opRestore, name); done {
		return op, err
	}
	list, err := w.Snapshots.List(ctx, name)
	if err != nil {
		return api.Operation{}, err
	}
	found := false
	for _, s := range list {
		found = found || s.Name == snapshot
	}
	if !found {
		return api.Operation{}, api.Errorf(api.CodeNotFound, "%s has no snapshot %q", name, snapshot).
			WithHint("berth snapshot ls %s", name)
	}
	return w.other(ctx, name, opRestore, q.RequestID, func(_ *store.Instance, op *store.Operation) error {
		op.Snapshot = snapshot
		return nil
	}, func(rec *store.Instance) {
		w.setState(rec, api.StateRestarting, "going back to the snapshot "+snapshot)
	})
}

// Delete forgets a snapshot; one that is not there is no error.
func (sn Snapshots) Delete(ctx context.Context, name, snapshot string) error {
	w := sn.w
	rec, err := w.Record(name)
	if err != nil {
		return err
	}
	s, err := w.snapshotter(&rec)
	if err == nil {
		err = w.accounts.check(ctx, &rec, "")
	}
	if err != nil {
		return err
	}
	_, err = within(ctx, w, "backend "+rec.Backend, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.DeleteSnapshot(ctx, ref(&rec), snapshot)
	})
	return err
}

// snapshotterOf returns the backend that keeps the snapshots of r's instance, and a copy of its record.
func (w *Workspace) snapshotterOf(r *operation.Run) (backend.Snapshotter, store.Instance, error) {
	_, rec, err := w.target(r)
	if err != nil {
		return nil, rec, err
	}
	s, err := w.snapshotter(&rec)
	return s, rec, err
}

func doSnapshot(ctx context.Context, w *Workspace, r *operation.Run) error {
	s, rec, err := w.snapshotterOf(r)
	if err != nil {
		return err
	}
	err = w.long(ctx, "snapshot of "+rec.Name, func(ctx context.Context) error {
		return s.Snapshot(ctx, ref(&rec), r.Record().Snapshot)
	})
	if errors.Is(err, backend.ErrConflict) {
		// That it was not there was checked: a killed daemon took it.
		if list, lerr := s.Snapshots(ctx, ref(&rec)); lerr == nil {
			for _, have := range list {
				if have.Name == r.Record().Snapshot {
					err = nil
				}
			}
		}
	}
	if err == nil {
		w.opts.Fault(r.Kind + ".provider.called")
	}
	return err
}

func doRestore(ctx context.Context, w *Workspace, r *operation.Run) error {
	s, rec, err := w.snapshotterOf(r)
	if err != nil {
		return err
	}
	if err := w.long(ctx, "restore of "+rec.Name, func(ctx context.Context) error {
		return s.Restore(ctx, ref(&rec), r.Record().Snapshot)
	}); err != nil {
		return err
	}
	w.opts.Fault(r.Kind + ".provider.called")
	return nil
}

// lookAgain takes over what the provider says of the machine now.
func lookAgain(ctx context.Context, w *Workspace, r *operation.Run) error {
	return w.poll(ctx, r, func(m *backend.Machine, err error) (bool, error) {
		return err == nil && !m.State.Changing(), err
	})
}

const (
	clockOff   = 2 * time.Second  // by how much the clock of an instance may be behind
	clockWaits = 30 * time.Second // how long an agent may take to answer after its machine went back
)

// setClock puts the clock of a machine forward that went on with the memory of a snapshot: for it, no time has
// passed. What can't be done is an event.
func setClock(ctx context.Context, w *Workspace, r *operation.Run) error {
	_, rec, err := w.target(r)
	if err != nil || rec.State == api.StateStopped {
		return err
	}
	behind, err := w.putForward(ctx, &rec)
	if err == nil || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	why := fmt.Sprintf("the clock of %s may be behind, as it went on with the memory of the snapshot: %s", rec.Name, err)
	if behind > 0 {
		why = fmt.Sprintf("the clock of %s is behind by %s, as it went on with the memory of the snapshot: %s", rec.Name,
			operation.Brief(behind), err)
	}
	return w.warn(ctx, r, "clock.behind", "%s", why)
}

// putForward asks an instance for its time, and sets its clock where that is behind.
func (w *Workspace) putForward(ctx context.Context, rec *store.Instance) (behind time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, clockWaits)
	defer cancel()
	client := w.AgentClient(*rec)
	defer client.Close()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		asked := time.Now()
		info, err := client.Info(ctx)
		if err == nil {
			if behind = asked.Sub(info.Now); behind < clockOff {
				return 0, nil
			}
			return behind, client.SetClock(ctx, time.Now())
		}
		select {
		case <-ctx.Done():
			return 0, err
		case <-time.After(wait):
		}
	}
}
