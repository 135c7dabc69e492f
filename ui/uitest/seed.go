package uitest

import (
	"cmp"
	"context"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/mem"
	"berth/backend/service/store"
)

// seed adds to c the record of an instance and its operation, and to its provider its machine.
func (w *Workspace) seed(c *store.Change, in *api.Instance) error {
	rec := store.Instance{Instance: *in, Token: "t-" + in.ID, Line: lineOf(in)}
	// What follows is kept elsewhere, or computed.
	rec.Operation, rec.Agent, rec.CostTodayUSD, rec.Mine = nil, nil, nil, false
	if cost, price := in.CostTodayUSD, in.PriceUSDPerHour; cost != nil && price != nil && *price > 0 {
		rec.Usage = store.Usage{Day: w.clock().Local().Format(time.DateOnly), Seconds: *cost / *price * 3600}
	}
	if in.State == api.StateSetupFailed {
		rec.SetupID, rec.SetupScript, rec.SetupFailed = "setup-"+in.ID, true, cmp.Or(in.StateReason, "it failed")
	}
	if in.Operation != nil {
		c.Operations = append(c.Operations, operationOf(in, &rec))
	}
	if p := w.providers[in.Backend]; p != nil && in.State != api.StateCreateFailed {
		m := machineOf(in, machineID(in), rec.Token)
		if in.Operation != nil {
			m.State = api.StateRunning // it has come as far as it will
		}
		p.Add(m)
	}
	return c.Put(nil, &rec)
}

// operationOf is the operation of an instance as a daemon left it that has ended: one that has failed will fail again.
func operationOf(in *api.Instance, rec *store.Instance) store.Operation {
	op := store.Operation{Operation: *in.Operation}
	op.ID = cmp.Or(op.ID, "op-"+in.ID)
	op.State, op.EndedAt, op.Error = api.OpRunning, nil, nil
	op.Steps = append([]api.Step{}, op.Steps...)
	for i := range op.Steps {
		s := &op.Steps[i]
		if s.State == api.OpFailed {
			s.State, s.EndedAt, s.Message = api.OpRunning, nil, ""
		}
		for _, p := range s.Parts {
			rec.SetupProfiles = append(rec.SetupProfiles, p.Name)
		}
	}
	if op.Kind == "create" {
		rec.SetupID = op.ID
		rec.Spec = &backend.Spec{Token: rec.Token, Name: in.Name, Size: in.Size, Image: in.Image, Profiles: rec.SetupProfiles}
	}
	return op
}

// resume goes on with the operations, up to where they stand still, and says how the agents are.
func (w *Workspace) resume(ctx context.Context, list []api.Instance) error {
	for i := range list {
		if op := list[i].Operation; op != nil && op.State == api.OpFailed {
			w.release(cmp.Or(op.ID, "op-"+list[i].ID), op.Error)
			if op.EndedAt != nil {
				w.mu.Lock()
				w.at = *op.EndedAt // one such is enough
				w.mu.Unlock()
			}
		}
	}
	if err := w.real.Resume(ctx); err != nil {
		return err
	}
	for i := range list {
		if op := list[i].Operation; op != nil {
			w.rest(cmp.Or(op.ID, "op-"+list[i].ID))
		}
	}
	w.mu.Lock()
	w.at = time.Time{}
	w.mu.Unlock()
	for i := range list {
		if a := list[i].Agent; a != nil {
			w.reboots[list[i].ID] = a.AfterReboot
			st := *a
			w.real.LineState(list[i].ID, list[i].State == api.StateRunning, &st)
		}
	}
	return nil
}

// lineOf is a line to an instance: any will do, since the dialer of tests goes by the instance.
func lineOf(in *api.Instance) backend.Line {
	if in.Backend == "ssh" {
		return backend.Line{SSH: &backend.SSHTarget{Host: in.Address}}
	}
	return backend.Line{Socket: "/run/" + in.Name}
}

func machineID(in *api.Instance) string { return cmp.Or(in.ProviderID, "m-of-"+in.ID) }

// machineOf is the machine of an instance.
func machineOf(in *api.Instance, id, token string) backend.Machine {
	return backend.Machine{ID: id, Name: in.ProviderName, Token: token, State: in.State, Reason: in.StateReason,
		Size:  in.Size,
		Image: in.Image, Region: in.Region, Owner: in.Owner, AssignedTo: in.AssignedTo, Address: in.Address, Port: in.Port,
		User: in.User, SSHEnabled: in.SSHEnabled, Adopted: in.Adopted, GPUs: in.GPUs, VCPUs: in.VCPUs,
		MemoryBytes: in.MemoryBytes,
		DiskBytes:   in.DiskBytes, Workdir: in.Workdir, Tags: in.Tags, Notes: in.Notes, Capabilities: in.Capabilities,
		CreatedAt: in.CreatedAt, Line: lineOf(in)}
}

// Keep sets the snapshots of an instance, which can have some from then on.
func (d *Driver) Keep(name string, list ...api.Snapshot) {
	in, err := d.WS.real.Instance(asAda(), name)
	if err != nil {
		panic(err)
	}
	in.Capabilities.Snapshots = true
	d.WS.Put(in)
	mem.Keep(d.WS.providers[in.Backend].Backend, machineID(&in), list...)
	d.Settle()
}

// Kept are a few snapshots as they may be.
func Kept() []api.Snapshot {
	return []api.Snapshot{
		{Name: "fresh", CreatedAt: Epoch.Add(-30 * 24 * time.Hour), Description: "as it was set up"},
		{Name: "before-cuda-12", CreatedAt: Epoch.Add(-4*24*time.Hour - 3*time.Hour), Memory: true,
			Description: "taken while " +
				"the run of grace was in epoch 40 of 90, with the data of March mounted; ask her before it is deleted"},
		{Name: "資料-\u202ebackup", CreatedAt: Epoch.Add(-50 * time.Hour)},
		{Name: "snap-20260314-1015", CreatedAt: Epoch.Add(-15 * time.Minute), Memory: true, Current: true},
	}
}
