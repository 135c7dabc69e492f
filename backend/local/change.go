package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"berth/backend"
	"berth/backend/agent"
	"berth/backend/agent/supervise"
	"berth/backend/api"
	"berth/backend/base/flock"
	"berth/backend/base/paths"
	"berth/gpu/procs/proc"
)

// lock keeps others, also other processes, from changing the instance meanwhile. It is held for
// moments only.
func (b *Backend) lock(ctx context.Context, id string) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir := b.env.Home.State + "/local"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, api.Errorf(api.CodeFailed, "making the folder for local instances: %w", err)
	}
	// A few files serve for all: one for each instance that ever was would stay for ever.
	f, err := flock.OpenWait(ctx, dir+"/lock-"+id[len(id)-1:])
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil:
		return nil, api.Errorf(api.CodeFailed, "locking the instance: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

// spawn writes the supervisor's configuration and starts it: to run the instance, or only to finish
// what was asked for.
func (b *Backend) spawn(ctx context.Context, in instance, finish bool) error {
	conf, command, err := b.config(in)
	if err != nil {
		return err
	}
	d := b.dir(in.ID)
	if err := d.Make(); err != nil {
		return api.Errorf(api.CodeFailed, "starting %q: %w", in.Name, err)
	}
	if err := b.env.Home.PrepareRun(); err != nil {
		return api.Errorf(api.CodeFailed, "starting %q: %w", in.Name, err)
	}
	if err := d.WriteConfig(conf); err != nil {
		return api.Errorf(api.CodeFailed, "starting %q: %w", in.Name, err)
	}
	if err := supervise.Spawn(ctx, command, d, finish); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return api.Errorf(api.CodeFailed, "starting %q: %w", in.Name, err)
	}
	return nil
}

// config says how the instance's agent is run by this build, and the supervisor's command line.
func (b *Backend) config(in instance) (supervise.Config, []string, error) {
	exe, err := b.env.Executable()
	if err != nil {
		return supervise.Config{}, nil, api.Errorf(api.CodeFailed, "finding the program to run as agent of %q: %w", in.Name,
			err)
	}
	d, h := b.dir(in.ID), b.homeOf(in.ID)
	o := agent.Options{State: d.AgentState(), Socket: b.socket(in.ID), Home: h, Workdir: h, Scratch: string(d) +
		"/scratch", Share: in.Share, Instance: in.Name, InstanceID: in.ID,
		AfterReboot: "a restart of this computer stops it; start it again then"}
	if in.Share != "" {
		o.Workdir = in.Share
	}
	if err := o.Check(); err != nil {
		return supervise.Config{}, nil, api.Errorf(api.CodeFailed, "starting %q: %w", in.Name, err)
	}
	conf := supervise.Config{ID: in.ID, Name: in.Name, Data: b.folder(in.ID), Home: h, Agent: agent.Command(exe,
		append([]string{"run"}, o.Args()...)...),
		AgentLog: d.Log(), Group: b.group, Grace: b.grace}
	return conf, agent.Command(exe, "parent"), nil
}

// change opens an instance for a change: it exists, is whole, is no adopted host, and is locked.
func (b *Backend) change(ctx context.Context, ref backend.Ref, verb string) (instance, func(), error) {
	id, err := refID(ref)
	if err != nil {
		return instance{}, nil, err
	}
	unlock, err := b.lock(ctx, id)
	if err != nil {
		return instance{}, nil, err
	}
	in, err := b.load(id)
	switch {
	case b.absent(id, err):
		err = errGone(ref)
	case errors.Is(err, fs.ErrNotExist) && verb == stopping: // what runs is ended all the same
		in.ID, in.Name, err = id, ref.Name, nil
	case errors.Is(err, fs.ErrNotExist):
		err = api.Errorf(api.CodeConflict, "%s %q: its folder %s was deleted", verb, ref.Name, b.folder(id)).
			WithHint("berth rm %s ends what still runs of it", ref.Name)
	case err != nil:
		err = api.Errorf(api.CodeFailed, "%s %q: %w", verb, ref.Name, err)
	case in.Adopted:
		err = api.Errorf(api.CodeUnsupported, "%s %q: %s", verb, ref.Name, whyAdopted)
	case in.Machine != "" && in.foreign() != "":
		err = api.Errorf(api.CodeUnsupported, "%s %q: %s", verb, ref.Name, in.foreign())
	}
	if err != nil {
		unlock()
		return instance{}, nil, err
	}
	return in, unlock, nil
}

// Start implements backend.Backend.
func (b *Backend) Start(ctx context.Context, ref backend.Ref) error {
	in, unlock, err := b.change(ctx, ref, "starting")
	if err != nil {
		return err
	}
	defer unlock()
	return b.start(ctx, in)
}

func (b *Backend) start(ctx context.Context, in instance) error {
	v := b.look(in.ID)
	switch {
	case v.broken != nil:
		return api.Errorf(api.CodeFailed, "starting %q: %w", in.Name, v.broken)
	case v.asked && v.sameBoot && v.req.Action != supervise.ActionRestart:
		return api.Errorf(api.CodeConflict, "%q can't be started: its %s is under way", in.Name, v.req.Action).
			WithHint("try again once it has ended")
	case v.asked && v.req.Action == supervise.ActionDelete:
		return api.Errorf(api.CodeConflict, "%q can't be started: it is being deleted", in.Name)
	case v.alive:
		return nil
	}
	if err := b.dir(in.ID).Drop(); err != nil { // asked for before a reboot
		return api.Errorf(api.CodeFailed, "starting %q: %w", in.Name, err)
	}
	return b.spawn(ctx, in, false)
}

// Upgrade lets the agent of a running instance be replaced by this build's, if this one is newer.
// What runs in the instance goes on. The workspace calls it after an upgrade of Berth.
func (b *Backend) Upgrade(ctx context.Context, ref backend.Ref) error {
	in, unlock, err := b.change(ctx, ref, "upgrading the agent of")
	if err != nil {
		return err
	}
	defer unlock()
	v := b.look(in.ID)
	if !v.alive || v.asked {
		return nil // the next start runs this build's
	}
	conf, _, err := b.config(in)
	if err != nil {
		return err
	}
	if err := b.dir(in.ID).WriteConfig(conf); err != nil {
		return api.Errorf(api.CodeFailed, "upgrading the agent of %q: %w", in.Name, err)
	}
	if err := v.status.Signal(syscall.SIGUSR2); err != nil && !errors.Is(err, proc.ErrGone) {
		return err
	}
	return nil
}

const stopping = "stopping"

// Stop implements backend.Backend.
func (b *Backend) Stop(ctx context.Context, ref backend.Ref) error {
	in, unlock, err := b.change(ctx, ref, stopping)
	if err != nil {
		return err
	}
	defer unlock()
	v := b.look(in.ID)
	switch {
	case v.asked && v.req.Action == supervise.ActionDelete:
		return api.Errorf(api.CodeConflict, "%q is being deleted", in.Name)
	case in.Machine == "": // its folder is gone, perhaps its supervisor's too
		if err := b.dir(in.ID).Make(); err != nil {
			return api.Errorf(api.CodeFailed, "stopping %q: %w", in.Name, err)
		}
	case !v.sameBoot, !v.alive && !v.asked && !v.remains:
		return nil
	}
	return b.ask(ctx, in, supervise.ActionStop)
}

// Restart implements backend.Backend.
func (b *Backend) Restart(ctx context.Context, ref backend.Ref) error {
	in, unlock, err := b.change(ctx, ref, "restarting")
	if err != nil {
		return err
	}
	defer unlock()
	v := b.look(in.ID)
	switch {
	case v.asked && v.req.Action == supervise.ActionDelete:
		return api.Errorf(api.CodeConflict, "%q is being deleted", in.Name)
	case !v.sameBoot, !v.alive && !v.asked && !v.remains:
		return b.start(ctx, in)
	}
	return b.ask(ctx, in, supervise.ActionRestart)
}

// Delete implements backend.Backend. What the folder's marker does not allow is refused at once.
func (b *Backend) Delete(ctx context.Context, ref backend.Ref) error {
	id, err := refID(ref)
	if err != nil {
		if ref.ID == "" && ref.Token == "" {
			return err
		}
		return nil // such an instance never was
	}
	unlock, err := b.lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	in, lerr := b.load(id)
	if b.absent(id, lerr) {
		return errors.Join(b.forget(id), b.removeUnused(ctx, ref))
	}
	if lerr == nil && in.foreign() != "" {
		return api.Errorf(api.CodeRefused, "deleting %q: %s", ref.Name, in.foreign()).WithHint("delete it there")
	}
	if !errors.Is(lerr, fs.ErrNotExist) {
		if err := supervise.CheckInstance(b.folder(id), id); err != nil {
			return api.Errorf(api.CodeRefused, "deleting %q: %s: %w", ref.Name, b.folder(id), err).
				WithHint("look at the folder and remove it yourself if it is not needed")
		}
	}
	if in.Adopted {
		if !b.adoptedOtherwise(id) {
			if err := b.removeHostAgent(ctx, in); err != nil {
				return err
			}
		}
		if err := supervise.RemoveInstance(b.folder(id), id); err != nil {
			return api.Errorf(api.CodeFailed, "forgetting %q: %w", ref.Name, err)
		}
		return b.forget(id)
	}
	in.ID, in.Name = id, ref.Name
	if err := b.dir(id).Make(); err != nil {
		return api.Errorf(api.CodeFailed, "deleting %q: %w", ref.Name, err)
	}
	return b.ask(ctx, in, supervise.ActionDelete)
}

// forget removes what is left of an instance that is gone.
func (b *Backend) forget(id string) error {
	if v := b.look(id); v.alive {
		return nil // it is just removing its own folder
	}
	if err := os.RemoveAll(string(b.dir(id))); err != nil {
		return api.Errorf(api.CodeFailed, "removing the records of a deleted instance: %w", err)
	}
	return nil
}

// ask writes down what is wanted and sees to it that a supervisor does it.
func (b *Backend) ask(ctx context.Context, in instance, action string) error {
	err := b.dir(in.ID).Ask(action)
	if errors.Is(err, fs.ErrNotExist) && action == supervise.ActionDelete {
		return nil // it was deleted just now
	}
	if err != nil {
		return api.Errorf(api.CodeFailed, "asking for the %s of %q: %w", action, in.Name, err)
	}
	// Looked at after the request was written: one that is about to leave has seen it, or has left.
	if v := b.look(in.ID); v.alive {
		err := v.status.Signal(syscall.SIGTERM)
		if !errors.Is(err, proc.ErrGone) {
			return err
		}
	}
	err = b.spawn(ctx, in, true)
	if action == supervise.ActionDelete && ctx.Err() == nil && !b.deleting(in.ID) && !paths.Exists(b.folder(in.ID)) {
		return b.forget(in.ID) // done meanwhile
	}
	return err
}
