package workspace

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
)

// step is one repeatable part of an operation.
type step struct {
	name  string
	title string
	limit func(Limits) time.Duration
	do    func(ctx context.Context, w *Workspace, r *operation.Run) error
}

func callLimit(l Limits) time.Duration    { return l.Call * time.Duration(l.Tries) }
func machineLimit(l Limits) time.Duration { return l.Machine }
func agentLimit(l Limits) time.Duration   { return l.Agent }
func prepareLimit(l Limits) time.Duration { return l.Prepare }
func setupLimit(l Limits) time.Duration   { return l.Setup }

// The kinds of operations.
const (
	opCreate  = "create"
	opAdopt   = "adopt"
	opStart   = "start"
	opStop    = "stop"
	opRestart = "restart"
	opDelete  = "delete"

	opSetup    = "setup"
	opHostKey  = "hostkey" // begun by the workspace itself, once the machine can be used
	opSnapshot = "snapshot"
	opRestore  = "restore"
	opImage    = "image"
)

// plans are the steps of each kind of operation.
var plans = map[string][]step{
	opCreate: {
		{"prepare", "preparing the image", prepareLimit, doPrepare},
		{"provider", "asking for the machine", callLimit, doCreate},
		{"machine", "waiting for the machine", machineLimit, waitFor(api.StateRunning)},
		{"agent", "reaching its agent", agentLimit, reachAgent},
		{"setup", "setting up", setupLimit, runSetup},
	},
	opAdopt: {
		{"identify", "reaching the machine", agentLimit, doAdopt},
		{"agent", "putting the agent in place", agentLimit, reachAgent},
	},
	opStart: {
		{"provider", "asking for the start", callLimit, call(backend.Backend.Start)},
		{"machine", "waiting for the machine", machineLimit, waitFor(api.StateRunning)},
		{"agent", "reaching its agent", agentLimit, reachAgent},
		{"onstart", "running its start script", setupLimit, runOnStart},
	},
	opStop: {
		{"jobs", "seeing to its jobs", jobsLimit, doJobs},
		{"provider", "asking for the stop", callLimit, doStop},
		{"machine", "waiting until it has stopped", machineLimit, waitStopped},
	},
	opRestart: {
		{"jobs", "seeing to its jobs", jobsLimit, doJobs},
		{"provider", "asking for the restart", callLimit, doRestart},
		{"machine", "waiting for the machine", machineLimit, waitFor(api.StateRunning)},
		{"agent", "reaching its agent", agentLimit, reachAgent},
		{"onstart", "running its start script", setupLimit, runOnStart},
	},
	opDelete: {
		{"line", "letting go of it", agentLimit, letGo},
		{"provider", "asking for its removal", callLimit, call(backend.Backend.Delete)},
		{"machine", "waiting until it is gone", machineLimit, waitGone},
	},
	opSetup: {
		{"agent", "reaching its agent", agentLimit, reachAgent},
		{"setup", "setting up", setupLimit, runSetup},
	},
	opHostKey: {
		{"hostkey", "renewing its host key", agentLimit, renewHostKey},
	},
	opSnapshot: {
		{"provider", "taking the snapshot", machineLimit, doSnapshot},
	},
	opRestore: {
		{"line", "letting go of it", agentLimit, letGo},
		{"provider", "going back to the snapshot", machineLimit, doRestore},
		{"machine", "looking at the machine", machineLimit, lookAgain},
		{"clock", "setting its clock", agentLimit, setClock},
	},
	opImage: {
		{"stop", "stopping the machine", machineLimit, stopForImage},
		{"provider", "copying its disk", prepareLimit, doBuildImage},
		{"start", "starting it again", machineLimit, startAfterImage},
		{"onstart", "running its start script", setupLimit, onStartAfterImage},
	},
}

// Fault points of every backend, and those that only a backend of machines reaches.
var (
	anyKinds     = []string{opCreate, opAdopt, opStart, opStop, opRestart, opDelete, opSetup}
	machineKinds = []string{opHostKey, opSnapshot, opRestore, opImage}
)

// keyChanged is the point between a machine's taking its new host key and the old one's removal.
const keyChanged = "hostkey.hostkey.changed"

// FaultPoints lists every point at which Options.Fault is called, in the order of each operation.
func FaultPoints() []string { return faultPoints(anyKinds) }

// MachineFaultPoints lists the further points that are reached where the backend makes machines which
// are signed in to, keeps snapshots or makes images.
func MachineFaultPoints() []string { return append([]string{keyChanged}, faultPoints(machineKinds)...) }

func faultPoints(kinds []string) (out []string) {
	all := (*Workspace)(nil).plans()
	for _, kind := range kinds {
		out = append(out, operation.FaultPoints(kind, all[kind])...)
	}
	return out
}

// plans are what the engine is given: the table's steps, done by this workspace. A nil workspace has plans that can be
// looked at.
func (w *Workspace) plans() map[string]operation.Plan {
	var limits Limits
	if w != nil {
		limits = w.limits
	}
	out := map[string]operation.Plan{}
	for kind, steps := range plans {
		p := operation.Plan{EndsAll: kind == opDelete, Background: kind == opHostKey}
		if kind == opStop {
			p.Ends = []string{opStart, opRestart, opSetup}
		}
		for _, s := range steps {
			p.Steps = append(p.Steps, operation.Step{Name: s.name, Title: s.title, Limit: s.limit(limits),
				Called: s.name == "provider" || s.name == "identify", Early: s.name == "jobs",
				Do: func(ctx context.Context, r *operation.Run) error { return w.carryOut(ctx, r, s) }})
		}
		out[kind] = p
	}
	return out
}

// asks are the steps that ask the provider.
var asks = []string{"prepare", "provider", "machine", "stop", "start", "hostkey"}

// carryOut does a step of r. One that asks the provider does so in the account of the instance alone. A resumed
// operation, whose secrets nobody keeps, is parked where it can't sign in there.
func (w *Workspace) carryOut(ctx context.Context, r *operation.Run, s step) error {
	if !slices.Contains(asks, s.name) {
		return s.do(ctx, w, r)
	}
	_, rec, err := w.target(r)
	if err == nil {
		err = w.retry(ctx, r.Kind+" of "+r.Instance, func(ctx context.Context) error {
			_, err := w.accounts.same(ctx, &rec) // the files of its profile may say another since the last step
			return err
		})
	}
	if err == nil {
		err = s.do(ctx, w, r)
	}
	if err == nil || ctx.Err() != nil || !r.Resumed || w.operations.Background(r.Kind) ||
		api.AsError(err).Code != api.CodeAuth && !errors.As(err, new(foreignError)) {
		return err
	}
	op := r.Record()
	if len(op.Withheld) == 0 {
		return operation.Parked{Needs: "needs a sign-in to go on, which any berth call shows that has it: " + err.Error()}
	}
	return operation.Parked{Needs: "needs " + strings.Join(op.Withheld, ", ") +
		", which the call that asked for it had: any berth call with it goes on"}
}

func doCreate(ctx context.Context, w *Workspace, r *operation.Run) error {
	b, rec, err := w.target(r)
	if err != nil {
		return err
	}
	var m backend.Machine
	spec := *rec.Spec
	if spec.Access, err = w.access(ctx, r, b, &spec); err != nil {
		return err
	}
	err = w.retry(ctx, "create of "+rec.Name, func(ctx context.Context) error {
		m, err = b.Create(ctx, spec)
		return err
	})
	if err != nil && ctx.Err() == nil {
		goal, way := wanted(opCreate)
		if made, ok := w.isNow(ctx, b, &rec, goal, way, api.StateCreating); ok {
			w.log.Warn("an error of the provider is none: the machine is there", "instance", rec.Name, "error", err)
			m, err = made, nil
		}
	}
	if err != nil {
		return err
	}
	w.opts.Fault("create.provider.called")
	if m.State == api.StateRunning {
		m.State = api.StateCreating // running for the user only when its agent answers
	}
	return w.store(ctx, r, &m)
}

// doRestart asks for a restart, unless the machine is seen on its way already: the daemon may have
// died after it asked.
func doRestart(ctx context.Context, w *Workspace, r *operation.Run) error {
	b, rec, err := w.target(r)
	if err != nil {
		return err
	}
	m, err := b.Get(ctx, ref(&rec))
	if err == nil && m.State == api.StateRestarting {
		return nil
	}
	off := err == nil && m.State == api.StateStopped
	if b.Info().QuietRestart && !off {
		if done, err := w.noteBoot(ctx, r, rec); err != nil || done {
			return err
		}
	}
	restart := backend.Backend.Restart
	if f, ok := b.(backend.Forcer); ok && r.Record().Force {
		restart = func(_ backend.Backend, ctx context.Context, ref backend.Ref) error { return f.ForceRestart(ctx, ref) }
	}
	if off && r.Resumed {
		restart = backend.Backend.Start // it went off in the middle of it
	}
	return call(restart)(ctx, w, r)
}
