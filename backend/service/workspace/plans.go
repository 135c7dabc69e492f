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
	"berth/backend/service/store"
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
		{"provider", "asking for the stop", callLimit, doStop},
		{"machine", "waiting until it has stopped", machineLimit, waitStopped},
	},
	opRestart: {
		{"provider", "asking for the restart", callLimit, doRestart},
		{"machine", "waiting for the machine", machineLimit, waitFor(api.StateRunning)},
		{"agent", "reaching its agent", agentLimit, reachAgent},
		{"onstart", "running its start script", setupLimit, runOnStart},
	},
	opDelete: {
		{"line", "letting go of it", agentLimit, letGo},
		{"provider", "asking for the deletion", callLimit, call(backend.Backend.Delete)},
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
				Called: s.name == "provider" || s.name == "identify",
				Do:     func(ctx context.Context, r *operation.Run) error { return s.do(ctx, w, r) }})
		}
		out[kind] = p
	}
	return out
}

func (w *Workspace) backend(name string) (backend.Backend, error) {
	b := w.opts.Backends[name]
	if err := w.opts.Failed[name]; b == nil && err != nil {
		return nil, err
	}
	if b == nil {
		return nil, api.Errorf(api.CodeUsage, "there is no backend %q", name).WithHint("berth sizes lists the backends that can be used")
	}
	return b, nil
}

func ref(rec *store.Instance) backend.Ref {
	return backend.Ref{ID: rec.ProviderID, Token: rec.Token, Name: rec.Name, Data: rec.Data}
}

// retry calls f within the limit of one call, again while the provider can't be reached.
func (w *Workspace) retry(ctx context.Context, what string, f func(context.Context) error) error {
	return w.long(ctx, what, func(ctx context.Context) error {
		_, err := within(ctx, w, what, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
		return err
	})
}

// call makes a step of one provider call.
func call(f providerCall) func(context.Context, *Workspace, *operation.Run) error {
	return func(ctx context.Context, w *Workspace, r *operation.Run) error {
		err := w.change(ctx, r, r.Kind, f)
		if r.Kind == opDelete && errors.Is(err, backend.ErrNotFound) {
			err = nil
		}
		if err == nil {
			w.opts.Fault(r.Kind + ".provider.called")
		}
		return err
	}
}

type providerCall func(backend.Backend, context.Context, backend.Ref) error

// change makes the provider call of a start, stop, restart or delete. A step that is resumed looks first whether
// that is done, and each looks again after an error: the call before it, whose answer nobody heard, may have had
// its effect meanwhile.
func (w *Workspace) change(ctx context.Context, r *operation.Run, kind string, f providerCall) error {
	b, rec, err := w.target(r)
	if err != nil {
		return err
	}
	goal, way := wanted(kind)
	if r.Resumed {
		if _, ok := w.isNow(ctx, b, &rec, goal); ok {
			return nil
		}
	}
	err = w.retry(ctx, kind+" of "+rec.Name, func(ctx context.Context) error { return f(b, ctx, ref(&rec)) })
	if err == nil || ctx.Err() != nil {
		return err
	}
	if _, ok := w.isNow(ctx, b, &rec, goal, way); ok {
		w.log.Warn("an error of the provider is none: the machine is as it should be", "asked", kind, "instance", rec.Name, "error", err)
		return nil
	}
	return err
}

// wanted says which state an action wants, and which its machine has on the way there. That a restart is over can't be
// seen by the state, and of a deletion the provider alone knows whether all is gone.
func wanted(kind string) (goal, way api.State) {
	switch kind {
	case opStart, opCreate:
		return api.StateRunning, api.StateStarting
	case opStop:
		return api.StateStopped, api.StateStopping
	case opRestart:
		return "", api.StateRestarting
	}
	return "", ""
}

// isNow asks the provider for a machine and reports whether it has one of the states.
func (w *Workspace) isNow(ctx context.Context, b backend.Backend, rec *store.Instance, states ...api.State) (backend.Machine, bool) {
	cctx, cancel := context.WithTimeout(ctx, w.limits.Call)
	defer cancel()
	m, err := b.Get(cctx, ref(rec))
	return m, err == nil && m.State != "" && slices.Contains(states, m.State)
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
	m, err := ad.Adopt(ctx, backend.AdoptSpec{Token: rec.Token, Name: rec.Name, Target: a.Target, Local: a.Local, HostKey: a.HostKey, Share: a.Share, Transport: a.Transport, Tags: rec.Tags})
	if err != nil {
		return err
	}
	w.opts.Fault("adopt.identify.called")
	w.Remember(backend.CallerFrom(ctx).Env, rec.ID)
	w.adopting.Lock() // of two that take in one machine, one sees the other
	defer w.adopting.Unlock()
	if err := w.alreadyHere(rec.ID, &m); err != nil {
		// The backend has taken note of it: that is undone, or the machine would be found there.
		if derr := b.Delete(context.WithoutCancel(ctx), backend.Ref{ID: m.ID, Token: m.Token, Name: rec.Name, Data: m.Data}); derr != nil {
			w.log.Error("undoing an adoption", "instance", rec.Name, "error", derr)
		}
		return err
	}
	return w.store(ctx, r, &m)
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

// store merges what the provider said into the record, durably.
func (w *Workspace) store(ctx context.Context, r *operation.Run, m *backend.Machine) error {
	return w.persist(ctx, r.InstanceID, func(e *entry) *store.Change {
		if e == nil {
			return &store.Change{} // gone meanwhile
		}
		rec := e.rec
		if !w.merge(&rec, m) { // a machine that is waited for says the same again and again
			e.rec.ObservedAt = rec.ObservedAt
			return &store.Change{}
		}
		return &store.Change{Instances: []store.Instance{rec}}
	})
}

// waitFor waits until the provider says that the machine has the state.
func waitFor(want api.State) func(context.Context, *Workspace, *operation.Run) error {
	return func(ctx context.Context, w *Workspace, r *operation.Run) error {
		asked, was, again := time.Now(), api.State(""), false
		return w.poll(ctx, r, func(m *backend.Machine, err error) (bool, error) {
			if err != nil {
				return false, err
			}
			fell := was == api.StateStarting && !again || time.Since(asked) > askAgain
			was = m.State
			switch {
			case m.State == want:
				return true, nil
			case (r.Kind == opStart || r.Kind == opImage) && m.State == api.StateStopped && fell:
				// The start that was under way has come to nothing: to another the provider says why.
				asked, again = time.Now(), true
				return false, w.change(ctx, r, opStart, backend.Backend.Start)
			case m.State == api.StateCreateFailed || m.State == api.StateUnusable,
				want == api.StateRunning && m.State == api.StateStopped && r.Kind == opCreate:
				return false, api.Errorf(api.CodeFailed, "the machine of %s is %s: %s", r.Instance, m.State, orElse(m.Reason, "the provider gives no reason"))
			}
			return false, nil
		})
	}
}

func waitGone(ctx context.Context, w *Workspace, r *operation.Run) error {
	if _, rec, err := w.target(r); err != nil || rec.Adopted {
		return err // nothing goes away: an adopted machine is only forgotten
	}
	return w.poll(ctx, r, func(_ *backend.Machine, err error) (bool, error) {
		if errors.Is(err, backend.ErrNotFound) {
			return true, nil
		}
		return false, err
	})
}

func orElse(s, def string) string {
	if strings.TrimSpace(s) == "" {
		return def
	}
	return s
}

// poll looks at the machine, first quickly and then ever slower, until check is content. What check returns for an
// unreachable provider is tried again until the step's limit.
func (w *Workspace) poll(ctx context.Context, r *operation.Run, check func(*backend.Machine, error) (bool, error)) error {
	b, rec, err := w.target(r)
	if err != nil {
		return err
	}
	wait := time.Duration(0)
	var last error
	for {
		m, err := w.pollers.next(ctx, rec.Backend, b, ref(&rec), rec.Adopted, wait)
		wait = min(max(wait*8/5, 2*time.Millisecond), 2*time.Second)
		if ctx.Err() != nil {
			if last != nil && errors.Is(context.Cause(ctx), &api.Error{Code: api.CodeFailed}) {
				return api.Errorf(api.CodeUnreachable, "%w; last: %s", context.Cause(ctx), last)
			}
			return context.Cause(ctx)
		}
		done, cerr := check(&m, err)
		if cerr != nil && !errors.Is(cerr, backend.ErrUnreachable) && !errors.Is(cerr, context.DeadlineExceeded) {
			return cerr
		}
		switch {
		case done && err == nil:
			return w.store(ctx, r, forUser(r.Kind, &m))
		case done:
			return nil
		case cerr != nil:
			last = cerr
		case err == nil && m.State != api.StateRunning: // not yet: "running" before a restart takes hold says nothing new
			w.showState(r, &m)
		}
	}
}

// forUser is a machine as it is shown when it has the state that was waited for: running for the user only when its
// agent answers.
func forUser(kind string, m *backend.Machine) *backend.Machine {
	if m.State == api.StateRunning {
		switch kind {
		case opCreate:
			m.State = api.StateSettingUp
		case opStart:
			m.State = api.StateStarting
		case opRestart:
			m.State = api.StateRestarting
		}
	}
	return m
}

// showState shows a state in passing without writing it: the next daemon will ask the provider anyway.
func (w *Workspace) showState(r *operation.Run, m *backend.Machine) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[r.InstanceID]
	if e == nil || (e.rec.State == m.State && e.rec.StateReason == m.Reason) || !m.State.Changing() {
		return
	}
	if r.Kind == opCreate {
		return // it stays "creating"
	}
	w.setState(&e.rec, m.State, m.Reason)
	w.publish(e)
}
