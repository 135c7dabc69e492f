package uitest

import (
	"context"
	"fmt"

	"berth/backend/api"
)

// refused is what Fail says of a call.
func (w *Workspace) refused(action, name string) error {
	if w.Fail == nil {
		return nil
	}
	return w.Fail(action, name)
}

// Create implements screen.Workspace.
func (w *Workspace) Create(ctx context.Context, r api.CreateRequest) (api.Operation, error) {
	w.call("create %s %s %s", r.Name, r.Backend, r.Size)
	w.mu.Lock()
	w.asked = r
	w.mu.Unlock()
	if err := w.refused("create", r.Name); err != nil {
		return api.Operation{}, err
	}
	return w.begun(w.real.Create(w.ctx(ctx), r))
}

// Asked is what was asked for by the last creation.
func (w *Workspace) Asked() api.CreateRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

// Adopt implements screen.Workspace.
func (w *Workspace) Adopt(ctx context.Context, r api.AdoptRequest) (api.Operation, error) {
	w.call("adopt %s %s %t", r.Name, r.Target, r.Local)
	if err := w.refused("adopt", r.Name); err != nil {
		return api.Operation{}, err
	}
	return w.begun(w.real.Adopt(w.ctx(ctx), r))
}

// Action implements screen.Workspace.
func (w *Workspace) Action(ctx context.Context, name, action string, r api.ActionRequest) (api.Operation, error) {
	s := action + " " + name
	if r.Force {
		s += " --force"
	}
	w.call("%s", s)
	if !r.Force {
		if err := w.refused(action, name); err != nil {
			return api.Operation{}, err
		}
	}
	return w.begun(w.real.Action(w.ctx(ctx), name, action, r))
}

// StartSetup implements screen.Workspace.
func (w *Workspace) StartSetup(ctx context.Context, name string, r api.SetupRequest) (api.Operation, error) {
	how := fmt.Sprintf("resume=%t", r.Resume)
	if r.Forget {
		how = "forget"
	}
	w.call("setup %s %s", name, how)
	if err := w.refused("setup", name); err != nil {
		return api.Operation{}, err
	}
	return w.begun(w.real.Setups.Begin(w.ctx(ctx), name, r))
}

// BuildImage is what screen.Env has.
func (w *Workspace) BuildImage(ctx context.Context, r api.ImageRequest) (api.Operation, error) {
	w.call("image build %s %s", r.Name, r.From)
	if err := w.refused("image build", r.From); err != nil {
		return api.Operation{}, err
	}
	return w.begun(w.real.Images.Build(w.ctx(ctx), r))
}

// Snapshots implements screen.Workspace.
func (w *Workspace) Snapshots(ctx context.Context, name string) ([]api.Snapshot, error) {
	w.call("snapshots %s", name)
	return w.real.Snapshots.List(w.ctx(ctx), name)
}

// Snapshot implements screen.Workspace.
func (w *Workspace) Snapshot(ctx context.Context, name string, r api.SnapshotRequest) (api.Operation, error) {
	w.call("snapshot %s %s", name, r.Name)
	if err := w.refused("snapshot", name); err != nil {
		return api.Operation{}, err
	}
	return w.begun(w.real.Snapshots.Take(w.ctx(ctx), name, r))
}

// Restore implements screen.Workspace.
func (w *Workspace) Restore(ctx context.Context, name string, r api.SnapshotRequest) (api.Operation, error) {
	w.call("restore %s %s", name, r.Name)
	if err := w.refused("restore", name); err != nil {
		return api.Operation{}, err
	}
	return w.begun(w.real.Snapshots.Restore(w.ctx(ctx), name, r))
}

// DeleteSnapshot implements screen.Workspace.
func (w *Workspace) DeleteSnapshot(ctx context.Context, name, snapshot string) error {
	w.call("snapshot rm %s %s", name, snapshot)
	return w.real.Snapshots.Delete(w.ctx(ctx), name, snapshot)
}

// Refresh implements screen.Workspace.
func (w *Workspace) Refresh(ctx context.Context, name string) (api.Instance, error) {
	w.call("refresh %s", name)
	return w.real.Reconciler.Refresh(w.ctx(ctx), name)
}

// Console implements screen.Workspace.
func (w *Workspace) Console(ctx context.Context, name string) (string, error) {
	w.call("console %s", name)
	return w.real.Catalogue.Console(w.ctx(ctx), name)
}

// Events implements screen.Workspace.
func (w *Workspace) Events(ctx context.Context, o api.EventOptions) ([]api.Event, error) {
	return w.real.Events(w.ctx(ctx), o)
}

// Backends implements screen.Workspace.
func (w *Workspace) Backends(ctx context.Context) ([]api.BackendInfo, error) {
	return w.real.Catalogue.Backends(w.ctx(ctx)), nil
}

// Sizes implements screen.Workspace.
func (w *Workspace) Sizes(ctx context.Context, backend string) ([]api.Size, error) {
	if w.OffersErr != nil {
		if err := w.OffersErr(backend); err != nil {
			return nil, err
		}
	}
	return w.real.Catalogue.Sizes(w.ctx(ctx), backend)
}

// Images implements screen.Workspace.
func (w *Workspace) Images(ctx context.Context, backend string) ([]api.Image, error) {
	return w.real.Catalogue.Images(w.ctx(ctx), backend)
}

// CheckName implements screen.Workspace.
func (w *Workspace) CheckName(_ context.Context, _, name string) error {
	w.call("check %s", name)
	switch {
	case w.CheckErr != nil:
		return w.CheckErr
	case w.Taken[name]:
		return api.Errorf(api.CodeConflict, "there is an instance %q already", name)
	}
	return w.real.CheckNewName(name)
}

// Hang has whoever asks for snapshots wait until it is called with false.
func (d *Driver) Hang(on bool) {
	d.WS.setHanging(on)
	d.Settle()
}

func (w *Workspace) setHanging(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hanging = on
	for ch := range w.hung {
		if on {
			break
		}
		close(ch)
		delete(w.hung, ch)
		w.waits.add(-1)
	}
}

// hang waits while the providers hang.
func (w *Workspace) hang(ctx context.Context) error {
	w.mu.Lock()
	if !w.hanging {
		w.mu.Unlock()
		return ctx.Err()
	}
	ch := make(chan struct{})
	w.hung[ch] = struct{}{}
	w.waits.add(1)
	w.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-ch:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, waits := w.hung[ch]; waits { // it was given up
		delete(w.hung, ch)
		w.waits.add(-1)
	}
	return ctx.Err()
}
