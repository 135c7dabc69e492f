package workspace

import (
	"context"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// Images makes images of instances.
type Images struct{ w *Workspace }

// imager returns the backend of that name that makes images.
func (w *Workspace) imager(name string) (backend.Imager, error) {
	b, err := w.backend(name)
	if err != nil {
		return nil, err
	}
	i, ok := b.(backend.Imager)
	if caps := b.Info().Capabilities; !ok || !caps.Build {
		return nil, api.Errorf(api.CodeUnsupported, "backend %s can't make images: %s", name, orElse(caps.Why["build"],
			"it has no such call"))
	}
	return i, nil
}

// Build begins to make an image of an instance. A running instance is stopped for it and started
// again; nothing on it is changed. What is its own (keys, ids), those that come from the image make anew.
func (im Images) Build(ctx context.Context, q api.ImageRequest) (api.Operation, error) {
	w := im.w
	if op, done, err := w.repeated(ctx, q.RequestID, opImage, q.From); done {
		return op, err
	}
	if err := CheckName(q.Name); err != nil {
		return api.Operation{}, err
	}
	rec, err := w.Record(q.From)
	if err == nil {
		err = w.May(ctx, api.ActionAccess, &rec.Instance) // an image holds what is on the disk
	}
	if err != nil {
		return api.Operation{}, err
	}
	if _, err := w.imager(rec.Backend); err != nil {
		return api.Operation{}, err
	}
	if err := w.accounts.check(ctx, &rec, opImage); err != nil {
		return api.Operation{}, err
	}
	images, err := w.Catalogue.Images(ctx, rec.Backend)
	if err != nil {
		return api.Operation{}, err
	}
	for _, im := range images {
		if strings.EqualFold(im.Name, q.Name) && (im.Origin != "built" || im.Source != rec.Name) {
			return api.Operation{}, api.Errorf(api.CodeConflict, "there is an image %q already", im.Name).
				WithHint("choose another name, or berth image rm %s", im.Name)
		}
	}
	return w.other(ctx, rec.ID, opImage, q.RequestID, func(r *store.Instance, op *store.Operation) error {
		if r.State != api.StateRunning && r.State != api.StateStopped {
			return api.Errorf(api.CodeConflict, "%s is %s: an image is made of an instance that is running or stopped", r.Name,
				r.State)
		}
		now := w.now().UTC().Truncate(time.Second)
		op.WasRunning = r.State == api.StateRunning
		op.Image = &api.Image{Name: q.Name, Backend: r.Backend, Description: orElse(q.Description, "made from "+r.Name),
			User: r.User, Origin: "built",
			Source: r.Name, Profiles: r.Profiles, BuiltAt: &now}
		return nil
	}, func(rec *store.Instance) {
		if rec.State == api.StateRunning {
			w.setState(rec, api.StateStopping, "an image is made of it")
		}
	})
}

// Delete removes an image from a backend's side.
func (im Images) Delete(ctx context.Context, backendName, name string) error {
	w := im.w
	i, err := w.imager(backendName)
	if err != nil {
		return err
	}
	_, err = within(ctx, w, "backend "+backendName, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, i.DeleteImage(ctx, name)
	})
	return err
}

func stopForImage(ctx context.Context, w *Workspace, r *operation.Run) error {
	if err := w.change(ctx, r, opStop, backend.Backend.Stop); err != nil {
		return err
	}
	return waitStopped(ctx, w, r)
}

func doBuildImage(ctx context.Context, w *Workspace, r *operation.Run) error {
	_, rec, err := w.target(r)
	if err != nil {
		return err
	}
	i, err := w.imager(rec.Backend)
	if err != nil {
		return err
	}
	err = w.long(ctx, "image of "+rec.Name, func(ctx context.Context) error {
		return i.BuildImage(ctx, ref(&rec), *r.Record().Image, w.teller(r, "provider"))
	})
	switch {
	case err == nil:
		w.opts.Fault(r.Kind + ".provider.called")
	case ctx.Err() == nil:
		// It is not left switched off for that.
		if serr := startAfterImage(ctx, w, r); serr != nil {
			err = api.Errorf(api.AsError(err).Code, "%w; and it could not be started again: %w", err, serr)
		}
	}
	return err
}

// startAfterImage starts the instance again if it had been running.
func startAfterImage(ctx context.Context, w *Workspace, r *operation.Run) error {
	if !r.Record().WasRunning {
		return nil
	}
	if err := w.change(ctx, r, opStart, backend.Backend.Start); err != nil {
		return err
	}
	if err := waitFor(api.StateRunning)(ctx, w, r); err != nil {
		return err
	}
	return reachAgent(ctx, w, r)
}

// onStartAfterImage runs the start script of an instance that was started again.
func onStartAfterImage(ctx context.Context, w *Workspace, r *operation.Run) error {
	if !r.Record().WasRunning {
		return nil
	}
	return runOnStart(ctx, w, r)
}
