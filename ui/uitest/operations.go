package uitest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"berth/backend/api"
)

// plan is the steps of an operation and the states on the way.
type plan struct {
	going api.State
	end   api.State
	steps []string
}

var plans = map[string]plan{
	"create":  {api.StateCreating, api.StateRunning, []string{"Check name and size", "Ask the backend for the machine", "Wait for the agent", "Run the set-up script"}},
	"adopt":   {api.StateSettingUp, api.StateRunning, []string{"Reach the machine", "Put the agent in place", "Read what it is"}},
	"start":   {api.StateStarting, api.StateRunning, []string{"Ask the backend", "Wait for the agent"}},
	"stop":    {api.StateStopping, api.StateStopped, []string{"End what runs", "Ask the backend"}},
	"restart": {api.StateRestarting, api.StateRunning, []string{"End what runs", "Ask the backend", "Wait for the agent"}},
	"setup":   {api.StateSettingUp, api.StateRunning, []string{"Reach the agent", "Go on with the set-up"}},
	// The state stays as it is.
	"snapshot": {"", "", []string{"Take the snapshot"}},
	"restore":  {api.StateRestarting, "", []string{"Let go of it", "Go back to the snapshot"}},
	"delete":   {api.StateDeleting, "", []string{"End what runs", "Delete the disk", "Forget it"}},
}

// begin starts an operation on an instance; w.mu is held.
func (w *Workspace) begin(kind string, in api.Instance) api.Operation {
	w.n++
	now := w.now()
	p := plans[kind]
	op := &api.Operation{ID: fmt.Sprintf("op-%d", w.n), Kind: kind, InstanceID: in.ID, Instance: in.Name, Actor: "ada", State: api.OpRunning, CreatedAt: now}
	for i, s := range p.steps {
		st := api.Step{Name: s, Title: s, State: api.OpPending}
		if i == 0 {
			st.State, st.StartedAt = api.OpRunning, &now
		}
		op.Steps = append(op.Steps, st)
	}
	w.ops[op.ID] = op
	if p.going != "" {
		in.State, in.StateSince, in.UpdatedAt = p.going, now, now
	}
	in.Operation = clone(op)
	w.put(in)
	w.publish(api.Change{Operation: clone(op)})
	w.emit(api.Event{Kind: "operation.step", Level: "info", InstanceID: in.ID, Instance: in.Name, OperationID: op.ID, Actor: "ada", Message: kind + ": " + p.steps[0]})
	if w.Step > 0 {
		id := op.ID
		time.AfterFunc(w.Step, func() { w.auto(id) })
	}
	return *clone(op)
}

func (w *Workspace) auto(id string) {
	if w.Advance(id) {
		time.AfterFunc(w.Step, func() { w.auto(id) })
	}
}

func clone(op *api.Operation) *api.Operation {
	c := *op
	c.Steps = slices.Clone(op.Steps)
	return &c
}

// Advance takes an operation one step on and reports whether there is another.
func (w *Workspace) Advance(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	op := w.ops[id]
	if op == nil || op.State.Done() {
		return false
	}
	now := w.now()
	for i := range op.Steps {
		s := &op.Steps[i]
		if s.State != api.OpRunning {
			continue
		}
		s.State, s.EndedAt = api.OpSucceeded, &now
		if i+1 < len(op.Steps) {
			op.Steps[i+1].State, op.Steps[i+1].StartedAt = api.OpRunning, &now
			w.publish(api.Change{Operation: clone(op)})
			w.emit(api.Event{Kind: "operation.step", Level: "info", InstanceID: op.InstanceID, Instance: op.Instance, OperationID: op.ID, Actor: op.Actor, Message: op.Kind + ": " + op.Steps[i+1].Title})
			return true
		}
	}
	op.State, op.EndedAt = api.OpSucceeded, &now
	w.publish(api.Change{Operation: clone(op)})
	w.emit(api.Event{Kind: "operation.done", Level: "info", InstanceID: op.InstanceID, Instance: op.Instance, OperationID: op.ID, Actor: op.Actor, Message: op.Kind + " succeeded"})
	in := w.instances[op.InstanceID]
	if in == nil {
		return false
	}
	if op.Kind == "delete" {
		delete(w.instances, in.ID)
		w.publish(api.Change{Removed: in.ID})
		return false
	}
	c := *in
	c.ObservedAt, c.Operation = &now, nil
	if end := plans[op.Kind].end; end != "" {
		c.State, c.StateSince, c.UpdatedAt = end, now, now
	}
	w.keep(op, &c)
	w.put(c)
	return false
}

// Finish takes an operation to its end.
func (w *Workspace) Finish(id string) {
	for w.Advance(id) {
	}
}

// FailOp ends an operation with an error at its present step.
func (w *Workspace) FailOp(id string, e *api.Error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	op := w.ops[id]
	now := w.now()
	for i := range op.Steps {
		if op.Steps[i].State == api.OpRunning {
			op.Steps[i].State, op.Steps[i].EndedAt, op.Steps[i].Message = api.OpFailed, &now, e.Message
		}
	}
	op.State, op.EndedAt, op.Error = api.OpFailed, &now, e
	c := *w.instances[op.InstanceID]
	c.Operation = clone(op)
	if op.Kind == "create" {
		c.State, c.StateSince, c.StateReason = api.StateCreateFailed, now, e.Message
	}
	w.put(c)
	w.publish(api.Change{Operation: clone(op)})
	w.emit(api.Event{Kind: "operation.done", Level: "error", InstanceID: op.InstanceID, Instance: op.Instance, OperationID: op.ID, Actor: op.Actor, Message: op.Kind + " failed: " + e.Message})
}

// Create implements screen.Workspace.
func (w *Workspace) Create(_ context.Context, r api.CreateRequest) (api.Operation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.call("create %s %s %s", r.Name, r.Backend, r.Size)
	if w.Fail != nil {
		if err := w.Fail("create", r.Name); err != nil {
			return api.Operation{}, err
		}
	}
	now := w.now()
	in := api.Instance{Name: r.Name, ID: fmt.Sprintf("new-%d", w.n), Backend: r.Backend, Size: r.Size, Image: r.Image, Owner: "ada", Mine: true, CreatedAt: now, UpdatedAt: now, Capabilities: AllCapabilities()}
	if r.Backend == "local" {
		in.Workdir = "/home/ada/.local/state/berth/local/" + r.Name
	}
	return w.begin("create", in), nil
}

// Adopt implements screen.Workspace.
func (w *Workspace) Adopt(_ context.Context, r api.AdoptRequest) (api.Operation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.call("adopt %s %s %t", r.Name, r.Target, r.Local)
	if w.Fail != nil {
		if err := w.Fail("adopt", r.Name); err != nil {
			return api.Operation{}, err
		}
	}
	in := api.Instance{Name: r.Name, ID: fmt.Sprintf("new-%d", w.n), Backend: "ssh", Address: r.Target, Owner: "ada", Mine: true, Adopted: true, CreatedAt: w.now(), Capabilities: AdoptedCapabilities()}
	if r.Local {
		in.Backend = "local"
	}
	return w.begin("adopt", in), nil
}

// Action implements screen.Workspace.
func (w *Workspace) Action(_ context.Context, name, action string, r api.ActionRequest) (api.Operation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := action + " " + name
	if r.Force {
		s += " --force"
	}
	w.call("%s", s)
	in, err := w.find(name)
	if err != nil {
		return api.Operation{}, err
	}
	if w.Fail != nil && !r.Force {
		if err := w.Fail(action, name); err != nil {
			return api.Operation{}, err
		}
	}
	return w.begin(action, *in), nil
}

// StartSetup implements screen.Workspace.
func (w *Workspace) StartSetup(_ context.Context, name string, r api.SetupRequest) (api.Operation, error) {
	how := fmt.Sprintf("resume=%t", r.Resume)
	if r.Forget {
		how = "forget"
	}
	return w.other("setup", name, fmt.Sprintf("setup %s %s", name, how))
}

func (w *Workspace) other(kind, name, call string) (api.Operation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.call("%s", call)
	in, err := w.find(name)
	if err != nil {
		return api.Operation{}, err
	}
	if w.Fail != nil {
		if err := w.Fail(kind, name); err != nil {
			return api.Operation{}, err
		}
	}
	return w.begin(kind, *in), nil
}

// Operation implements screen.Workspace.
func (w *Workspace) Operation(_ context.Context, id string) (api.Operation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if op := w.ops[id]; op != nil {
		return *clone(op), nil
	}
	return api.Operation{}, api.Errorf(api.CodeNotFound, "there is no operation %q", id)
}

// Operations implements screen.Workspace.
func (w *Workspace) Operations(context.Context) ([]api.Operation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []api.Operation
	for _, op := range w.ops {
		if !op.State.Done() {
			out = append(out, *clone(op))
		}
	}
	return out, nil
}

// FollowOperation implements screen.Workspace.
func (w *Workspace) FollowOperation(ctx context.Context, id string, each func(api.Operation)) (api.Operation, error) {
	op, err := w.Operation(ctx, id)
	if err == nil {
		each(op)
	}
	return op, err
}
