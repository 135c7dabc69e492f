package workspace

import (
	"context"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// Adopt takes in a machine that exists.
func (w *Workspace) Adopt(ctx context.Context, q api.AdoptRequest) (api.Operation, error) {
	if op, done, err := w.repeated(ctx, q.RequestID, opAdopt, q.Name); done {
		return op, err
	}
	if err := CheckName(q.Name); err != nil {
		return api.Operation{}, err
	}
	if q.Local == (q.Target != "") {
		return api.Operation{}, api.Errorf(api.CodeUsage, "adopt takes either user@host[:port] or --local")
	}
	name := "ssh"
	if q.Local {
		name = "local"
	}
	b, err := w.backend(name)
	if err != nil {
		return api.Operation{}, err
	}
	if err := w.hostAdopted(q.Local); err != nil {
		return api.Operation{}, err
	}
	me := orElse(w.whoamiOf(ctx, name, b), backend.CallerFrom(ctx).Principal.ID)
	opID := operationID(q.RequestID)
	rec := store.Instance{
		Instance: api.Instance{Name: q.Name, ID: newID("i-"), Backend: name, Owner: me, Adopted: true,
			CreatedAt: w.now().UTC(), Tags: q.Tags, Capabilities: b.Info().Capabilities},
		Token: opID, Share: q.Share,
	}
	if b.Info().Private {
		rec.AssignedTo = me
	}
	if q.Local { // this computer costs nothing that Berth knows of, as what is made on it
		free := 0.0
		rec.PriceUSDPerHour, rec.RunningUSDPerHour, rec.StoppedUSDPerHour = &free, &free, &free
	}
	w.setState(&rec, api.StateCreating, "")
	return w.beginNew(ctx, rec, store.Operation{Operation: api.Operation{ID: opID, Kind: opAdopt}, Adopt: &q})
}

// hostAdopted refuses to take in this very host a second time, before anything is done.
func (w *Workspace) hostAdopted(local bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.entries {
		if local && e.rec.Adopted && e.rec.Line.Socket != "" {
			return api.Errorf(api.CodeConflict, "this computer is in the fleet already, as %q", e.rec.Name)
		}
	}
	return nil
}

func doAdopt(ctx context.Context, w *Workspace, r *operation.Run) error {
	b, rec, err := w.target(r)
	if err != nil {
		return err
	}
	ad, ok := b.(backend.Adopter)
	if !ok {
		return api.Errorf(api.CodeUnsupported, "backend %s can't adopt machines", rec.Backend)
	}
	a := r.Record().Adopt
	m, err := ad.Adopt(ctx, backend.AdoptSpec{Token: rec.Token, Name: rec.Name, Target: a.Target, Local: a.Local,
		HostKey: a.HostKey, Share: a.Share, Transport: a.Transport, Tags: rec.Tags})
	if err != nil {
		return err
	}
	w.opts.Fault("adopt.identify.called")
	w.adopting.Lock() // of two that take in one machine, one sees the other
	defer w.adopting.Unlock()
	if err := w.alreadyHere(rec.ID, &m); err != nil {
		// The backend has taken note of it: that is undone, or the machine would be found there.
		if derr := b.Delete(context.WithoutCancel(ctx),
			backend.Ref{ID: m.ID, Token: m.Token, Name: rec.Name, Data: m.Data}); derr != nil {
			w.log.Error("undoing an adoption", "instance", rec.Name, "error", derr)
		}
		return err
	}
	if err := w.store(ctx, r, &m); err != nil {
		return err
	}
	return w.cameBack(ctx, m.ID)
}

// alreadyHere refuses to take in a machine twice.
func (w *Workspace) alreadyHere(id string, m *backend.Machine) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.entries {
		same := e.rec.ProviderID == m.ID && m.ID != "" || m.Line.Socket != "" && e.rec.Line.Socket == m.Line.Socket
		if e.rec.ID != id && e.rec.Adopted && same {
			return api.Errorf(api.CodeConflict, "this machine is in the fleet already, as %q", e.rec.Name)
		}
	}
	return nil
}
