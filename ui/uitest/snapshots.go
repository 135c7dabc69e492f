package uitest

import (
	"context"
	"slices"
	"time"

	"berth/backend/api"
)

// Keep sets the snapshots of an instance, which can have some from then on.
func (d *Driver) Keep(name string, list ...api.Snapshot) {
	d.WS.mu.Lock()
	if in, err := d.WS.find(name); err == nil {
		c := *in
		c.Backend, c.Capabilities.Snapshots = "libvirt", true
		d.WS.kept[in.ID] = list
		d.WS.put(c)
	}
	d.WS.mu.Unlock()
	d.Settle()
}

// Hang has whoever asks for snapshots wait until it is called with false.
func (d *Driver) Hang(on bool) {
	d.WS.mu.Lock()
	d.WS.hanging = on
	for ch := range d.WS.waiters {
		if on {
			break
		}
		close(ch)
		delete(d.WS.waiters, ch)
		d.WS.blocked--
	}
	d.WS.mu.Unlock()
	d.Settle()
}

// Kept are a few snapshots as they may be.
func Kept() []api.Snapshot {
	return []api.Snapshot{
		{Name: "fresh", CreatedAt: Epoch.Add(-30 * 24 * time.Hour), Description: "as it was set up"},
		{Name: "before-cuda-12", CreatedAt: Epoch.Add(-4*24*time.Hour - 3*time.Hour), Memory: true, Description: "taken while the run of grace was in epoch 40 of 90, with the data of March mounted; ask her before it is deleted"},
		{Name: "資料-\u202ebackup", CreatedAt: Epoch.Add(-50 * time.Hour)},
		{Name: "snap-20260314-1015", CreatedAt: Epoch.Add(-15 * time.Minute), Memory: true, Current: true},
	}
}

// Snapshots implements screen.Workspace.
func (w *Workspace) Snapshots(ctx context.Context, name string) ([]api.Snapshot, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.call("snapshots %s", name)
	if w.hanging {
		ch := make(chan struct{})
		w.waiters[ch] = struct{}{}
		w.blocked++
		select {
		case w.rest <- struct{}{}:
		default:
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-ch:
		}
		w.mu.Lock()
		if _, waits := w.waiters[ch]; waits { // it was given up
			delete(w.waiters, ch)
			w.blocked--
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	in, err := w.find(name)
	if err == nil {
		err = w.SnapshotErr
	}
	if err != nil {
		return nil, err
	}
	return slices.Clone(w.kept[in.ID]), nil
}

// Snapshot implements screen.Workspace.
func (w *Workspace) Snapshot(_ context.Context, name string, r api.SnapshotRequest) (api.Operation, error) {
	return w.snapshot("snapshot", name, r.Name)
}

// Restore implements screen.Workspace.
func (w *Workspace) Restore(_ context.Context, name string, r api.SnapshotRequest) (api.Operation, error) {
	return w.snapshot("restore", name, r.Name)
}

func (w *Workspace) snapshot(kind, name, snapshot string) (api.Operation, error) {
	op, err := w.other(kind, name, kind+" "+name+" "+snapshot)
	if err == nil {
		w.mu.Lock()
		w.about[op.ID] = snapshot
		w.mu.Unlock()
	}
	return op, err
}

// DeleteSnapshot implements screen.Workspace.
func (w *Workspace) DeleteSnapshot(_ context.Context, name, snapshot string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.call("snapshot rm %s %s", name, snapshot)
	in, err := w.find(name)
	if err == nil {
		err = w.SnapshotErr
	}
	if err != nil {
		return err
	}
	w.kept[in.ID] = slices.DeleteFunc(slices.Clone(w.kept[in.ID]), func(s api.Snapshot) bool { return s.Name == snapshot })
	return nil
}

// keep does what an operation that succeeded does to the snapshots of its instance; w.mu is held.
func (w *Workspace) keep(op *api.Operation, in *api.Instance) {
	if op.Kind != "snapshot" && op.Kind != "restore" {
		return
	}
	name, now := w.about[op.ID], w.now()
	list := slices.Clone(w.kept[in.ID])
	if op.Kind == "snapshot" {
		list = append(list, api.Snapshot{Name: name, CreatedAt: now, Memory: in.State == api.StateRunning})
	}
	for i := range list {
		s := &list[i]
		s.Current = s.Name == name
		if s.Current && op.Kind == "restore" {
			in.State, in.StateSince, in.UpdatedAt = api.StateStopped, now, now
			if s.Memory {
				in.State = api.StateRunning
			}
		}
	}
	w.kept[in.ID] = list
}
