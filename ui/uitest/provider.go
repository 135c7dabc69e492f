package uitest

import (
	"context"
	"encoding/json"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/mem"
)

// provider is a provider in memory whose calls wait where a test holds the operation that makes them.
type provider struct {
	*mem.Backend
	w    *Workspace
	name string
}

var (
	_ backend.Backend     = (*provider)(nil)
	_ backend.Adopter     = (*provider)(nil)
	_ backend.Snapshotter = (*provider)(nil)
)

// providers are those of a fleet: three, and others that have instances in it.
func providers(w *Workspace, list []api.Instance) map[string]*provider {
	create := AllCapabilities()
	create.Subnets, create.Profiles = true, true
	kept := create
	kept.Snapshots = true
	all := map[string]backend.Info{
		"local": {Title: "This computer", Capabilities: api.Capabilities{Create: true, Adopt: true, Start: true, Stop: true,
			Restart: true, Delete: true, Console: true, Exec: true, List: true}},
		"ssh":     {Title: "Any machine over SSH", Capabilities: AdoptedCapabilities()},
		"ec2":     {Title: "Amazon EC2", Capabilities: create},
		"libvirt": {Title: "Virtual machines", Capabilities: kept},
	}
	used := map[string]bool{"local": true, "ssh": true, "ec2": true}
	for i := range list {
		used[list[i].Backend] = true
	}
	out := map[string]*provider{}
	for name, info := range all {
		if !used[name] {
			continue
		}
		info.Name, info.Private = name, true
		p := &provider{Backend: mem.New(), w: w, name: name}
		p.Me, p.As, p.Now, p.Line = "ada", &info, w.clock, backend.Line{Socket: "/run/made"}
		p.Offers, p.Pictures = offers(name), pictures(name)
		out[name] = p
	}
	return out
}

func usd(v float64) *float64 { return &v }

func offers(name string) []api.Size {
	if name == "local" {
		return []api.Size{{Name: "host", Backend: name, VCPUs: 16, MemoryBytes: 64 << 30,
			GPUs: GPUs(2, "NVIDIA RTX A6000", 48), Default: true,
			Description: "The whole of this computer, shared with whatever else runs on it."}}
	}
	return []api.Size{
		{Name: "g5.xlarge", Backend: name, VCPUs: 4, MemoryBytes: 16 << 30, GPUs: GPUs(1, "NVIDIA A10G", 24),
			PriceUSD: usd(1.006), Default: true, Description: "One A10G: inference and small training runs."},
		{Name: "p4d.24xlarge", Backend: name, VCPUs: 96, MemoryBytes: 1152 << 30, GPUs: GPUs(8, "NVIDIA A100", 40),
			PriceUSD: usd(32.77), Description: "Eight A100 with NVLink."},
		{Name: "m7i.large", Backend: name, VCPUs: 2, MemoryBytes: 8 << 30, PriceUSD: usd(0.1008), Description: "No GPU."},
	}
}

func pictures(name string) []api.Image {
	if name == "local" {
		return []api.Image{{Name: "host", Backend: name, Description: "what is installed here", Default: true}}
	}
	return []api.Image{{Name: "ubuntu-24.04", Backend: name, Description: "Ubuntu with NVIDIA driver", Default: true},
		{Name: "debian-13", Backend: name}}
}

// GPUs makes n GPUs of a kind with so many GiB.
func GPUs(n int, name string, gib int64) []api.GPU {
	out := make([]api.GPU, n)
	for i := range out {
		out[i] = api.GPU{Name: name, MemoryBytes: gib << 30}
	}
	return out
}

// gate waits where the operation on the machine of that name is held.
func (p *provider) gate(ctx context.Context, name string) error {
	if ctx.Value(direct{}) != nil {
		return nil
	}
	rec, err := p.w.real.Record(p.name + "/" + name)
	if err != nil {
		return nil // it is gone: nothing is held
	}
	return p.w.gate(ctx, rec.ID)
}

// Prepare implements backend.Preparer.
func (p *provider) Prepare(ctx context.Context, s backend.Spec, say func(backend.Progress)) error {
	if err := p.gate(ctx, s.Name); err != nil {
		return err
	}
	return p.Backend.Prepare(ctx, s, func(backend.Progress) {}) // there is nothing to fetch
}

// Create implements backend.Backend.
func (p *provider) Create(ctx context.Context, s backend.Spec) (backend.Machine, error) {
	if err := p.gate(ctx, s.Name); err != nil {
		return backend.Machine{}, err
	}
	return p.Backend.Create(ctx, s)
}

// Adopt implements backend.Adopter.
func (p *provider) Adopt(ctx context.Context, s backend.AdoptSpec) (backend.Machine, error) {
	if err := p.gate(ctx, s.Name); err != nil {
		return backend.Machine{}, err
	}
	in := api.Instance{Name: s.Name, ProviderName: s.Name, Backend: p.name, Address: s.Target, Owner: "ada", User: "ada",
		Adopted: true, State: api.StateRunning, Tags: s.Tags, CreatedAt: p.w.clock(), Capabilities: AdoptedCapabilities()}
	m := machineOf(&in, "adopted-"+s.Name, s.Token)
	p.Add(m)
	return m, nil
}

// Start implements backend.Backend.
func (p *provider) Start(ctx context.Context, ref backend.Ref) error {
	return p.held(ctx, ref, p.Backend.Start)
}

// Stop implements backend.Backend.
func (p *provider) Stop(ctx context.Context, ref backend.Ref) error {
	return p.held(ctx, ref, p.Backend.Stop)
}

// Restart implements backend.Backend.
func (p *provider) Restart(ctx context.Context, ref backend.Ref) error {
	return p.held(ctx, ref, p.Backend.Restart)
}

// ForceStop implements backend.Forcer.
func (p *provider) ForceStop(ctx context.Context, ref backend.Ref) error {
	return p.held(ctx, ref, p.Backend.ForceStop)
}

// ForceRestart implements backend.Forcer.
func (p *provider) ForceRestart(ctx context.Context, ref backend.Ref) error {
	return p.held(ctx, ref, p.Backend.ForceRestart)
}

// Delete implements backend.Backend.
func (p *provider) Delete(ctx context.Context, ref backend.Ref) error {
	return p.held(ctx, ref, p.Backend.Delete)
}

func (p *provider) held(ctx context.Context, ref backend.Ref, f func(context.Context, backend.Ref) error) error {
	if err := p.gate(ctx, ref.Name); err != nil {
		return err
	}
	return f(ctx, ref)
}

// Get implements backend.Backend.
func (p *provider) Get(ctx context.Context, ref backend.Ref) (backend.Machine, error) {
	if err := p.gate(ctx, ref.Name); err != nil {
		return backend.Machine{}, err
	}
	return p.Backend.Get(ctx, ref)
}

// Plan implements backend.Planner.
func (p *provider) Plan(context.Context, backend.Spec) (json.RawMessage, error) { return nil, nil }

// Snapshots implements backend.Snapshotter.
func (p *provider) Snapshots(ctx context.Context, ref backend.Ref) ([]api.Snapshot, error) {
	if err := p.w.hang(ctx); err != nil {
		return nil, err
	}
	if err := p.w.SnapshotErr; err != nil {
		return nil, err
	}
	return p.Backend.Snapshots(ctx, ref)
}

// Snapshot implements backend.Snapshotter.
func (p *provider) Snapshot(ctx context.Context, ref backend.Ref, name string) error {
	if err := p.gate(ctx, ref.Name); err != nil {
		return err
	}
	return p.Backend.Snapshot(ctx, ref, name)
}

// Restore implements backend.Snapshotter.
func (p *provider) Restore(ctx context.Context, ref backend.Ref, name string) error {
	if err := p.gate(ctx, ref.Name); err != nil {
		return err
	}
	return p.Backend.Restore(ctx, ref, name)
}

// DeleteSnapshot implements backend.Snapshotter.
func (p *provider) DeleteSnapshot(ctx context.Context, ref backend.Ref, name string) error {
	if err := p.w.SnapshotErr; err != nil {
		return err
	}
	return p.Backend.DeleteSnapshot(ctx, ref, name)
}

// Console implements backend.Backend.
func (p *provider) Console(ctx context.Context, ref backend.Ref) ([]byte, error) {
	if p.w.Text != "" {
		return []byte(p.w.Text), nil
	}
	return p.Backend.Console(ctx, ref)
}
