package mem

import (
	"context"
	"encoding/json"
	"slices"

	"berth/backend"
	"berth/backend/api"
)

var (
	_ backend.Planner     = (*Backend)(nil)
	_ backend.Preparer    = (*Backend)(nil)
	_ backend.Forcer      = (*Backend)(nil)
	_ backend.Validator   = (*Backend)(nil)
	_ backend.Sealer      = (*Backend)(nil)
	_ backend.Snapshotter = (*Backend)(nil)
	_ backend.Imager      = (*Backend)(nil)
	_ backend.Checker     = (*Backend)(nil)
	_ backend.Sweeper     = (*Backend)(nil)
	_ backend.Accounter   = (*Backend)(nil)
)

// Plan implements backend.Planner: it is the name and the edition of the image.
func (b *Backend) Plan(ctx context.Context, s backend.Spec) (plan json.RawMessage, err error) {
	err = b.do(ctx, "Plan", func() error {
		plan, err = json.Marshal(s.Image + " " + b.Edition)
		return err
	})
	return plan, err
}

// Validate implements backend.Validator.
func (b *Backend) Validate(ctx context.Context, _ backend.Spec) error {
	return b.do(ctx, "Validate", func() error { return nil })
}

// Prepare implements backend.Preparer: it fetches 100 bytes.
func (b *Backend) Prepare(ctx context.Context, s backend.Spec, say func(backend.Progress)) error {
	say(backend.Progress{What: "fetching " + s.Image, Total: 100})
	err := b.do(ctx, "Prepare", func() error { return nil })
	if err == nil {
		say(backend.Progress{What: "fetching " + s.Image, Done: 100, Total: 100})
	}
	return err
}

// ForceStop implements backend.Forcer; it works on the deaf, too.
func (b *Backend) ForceStop(ctx context.Context, ref backend.Ref) error {
	return b.change(ctx, "ForceStop", ref, func(m *machine) { b.pass(m, api.StateStopping, api.StateStopped) })
}

// ForceRestart implements backend.Forcer.
func (b *Backend) ForceRestart(ctx context.Context, ref backend.Ref) error {
	return b.change(ctx, "ForceRestart", ref, func(m *machine) { b.pass(m, api.StateRestarting, api.StateRunning) })
}

// Seal implements backend.Sealer.
func (b *Backend) Seal(ctx context.Context, ref backend.Ref) error {
	return b.change(ctx, "Seal", ref, func(*machine) {})
}

// Keep makes these the snapshots of a machine, as a provider has them that was there before.
func Keep(b *Backend, id string, list ...api.Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m := b.machines[id]; m != nil {
		m.snapshots = slices.Clone(list)
	}
}

// Snapshots implements backend.Snapshotter.
func (b *Backend) Snapshots(ctx context.Context, ref backend.Ref) (out []api.Snapshot, err error) {
	err = b.change(ctx, "Snapshots", ref, func(m *machine) { out = slices.Clone(m.snapshots) })
	return out, err
}

// Snapshot implements backend.Snapshotter.
func (b *Backend) Snapshot(ctx context.Context, ref backend.Ref, name string) error {
	return b.do(ctx, "Snapshot", func() error {
		b.note(ctx, "Snapshot", ref)
		m, err := b.find(ctx, ref)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(m.snapshots, func(s api.Snapshot) bool { return s.Name == name }) {
			return api.Errorf(api.CodeConflict, "there is a snapshot %q", name)
		}
		// Of a machine that runs the memory is kept as well.
		m.snapshots = append(m.snapshots, api.Snapshot{Name: name, CreatedAt: b.now(), Memory: m.m.State == api.StateRunning})
		m.current(name)
		return nil
	})
}

// current makes a snapshot the one that the machine's disk goes on from.
func (m *machine) current(name string) (s *api.Snapshot) {
	for i := range m.snapshots {
		if m.snapshots[i].Current = m.snapshots[i].Name == name; m.snapshots[i].Current {
			s = &m.snapshots[i]
		}
	}
	return s
}

// Restore implements backend.Snapshotter. A machine whose memory was kept runs afterwards, another one is stopped.
func (b *Backend) Restore(ctx context.Context, ref backend.Ref, name string) error {
	return b.change(ctx, "Restore", ref, func(m *machine) {
		next := m.m.State
		if s := m.current(name); s != nil && s.Memory {
			next = api.StateRunning
		} else if s != nil {
			next = api.StateStopped
		}
		b.pass(m, api.StateRestarting, next)
	})
}

// DeleteSnapshot implements backend.Snapshotter.
func (b *Backend) DeleteSnapshot(ctx context.Context, ref backend.Ref, name string) error {
	return b.change(ctx, "DeleteSnapshot", ref, func(m *machine) {
		m.snapshots = slices.DeleteFunc(m.snapshots, func(s api.Snapshot) bool { return s.Name == name })
	})
}

// BuildImage implements backend.Imager.
func (b *Backend) BuildImage(ctx context.Context, ref backend.Ref, image api.Image, say func(backend.Progress)) error {
	return b.do(ctx, "BuildImage", func() error {
		b.note(ctx, "BuildImage", ref)
		m, err := b.find(ctx, ref)
		if err != nil {
			return err
		}
		if m.m.State != api.StateStopped {
			return api.Errorf(api.CodeRefused, "%s is %s", m.m.Name, m.m.State)
		}
		say(backend.Progress{What: "copying", Done: 1, Total: 1})
		b.images = append(slices.DeleteFunc(b.images, func(i api.Image) bool { return i.Name == image.Name }), image)
		return nil
	})
}

// DeleteImage implements backend.Imager.
func (b *Backend) DeleteImage(ctx context.Context, name string) error {
	return b.do(ctx, "DeleteImage", func() error {
		b.images = slices.DeleteFunc(b.images, func(i api.Image) bool { return i.Name == name })
		return nil
	})
}

// Check implements backend.Checker.
func (b *Backend) Check(context.Context) []api.Check {
	return []api.Check{{Area: "backend", Name: "mem", Status: "warn", Message: "nothing here outlives the process"}}
}

// Leftovers implements backend.Sweeper: what AddLeftover made.
func (b *Backend) Leftovers(ctx context.Context, known func(string) bool) (out []backend.Leftover, err error) {
	err = b.do(ctx, "Leftovers", func() error {
		for _, l := range b.left {
			if !known(l.ID) {
				out = append(out, l)
			}
		}
		return nil
	})
	return out, err
}

// RemoveLeftover implements backend.Sweeper.
func (b *Backend) RemoveLeftover(ctx context.Context, id string) error {
	return b.do(ctx, "RemoveLeftover", func() error {
		b.left = slices.DeleteFunc(b.left, func(l backend.Leftover) bool { return l.ID == id })
		return nil
	})
}

// AddLeftover leaves something behind, as a crash does. Its id is a token.
func AddLeftover(b *Backend, l backend.Leftover) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = append(b.left, l)
}
