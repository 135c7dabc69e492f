package workspace

import (
	"context"
	"errors"
	"slices"
	"strings"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// Setups sets instances up.
type Setups struct{ w *Workspace }

// Begin begins a set-up of a running instance: the rest of the one that failed, profiles, or a script.
func (st Setups) Begin(ctx context.Context, name string, q api.SetupRequest) (api.Operation, error) {
	w := st.w
	if op, done, err := w.repeated(ctx, q.RequestID, opSetup, name); done {
		return op, err
	}
	kinds := 0
	for _, asked := range []bool{q.Resume, q.Forget, len(q.Profiles) > 0 || strings.TrimSpace(q.Setup) != ""} {
		if asked {
			kinds++
		}
	}
	if kinds != 1 {
		return api.Operation{}, api.Errorf(api.CodeUsage,
			"setup takes one of --resume, --forget, and what to set up: --profile, --setup")
	}
	if q.Forget {
		return w.forgetSetups(ctx, name, q)
	}
	if q.Resume {
		if op, idle, err := w.nothingUnfinished(ctx, name, q); idle || err != nil {
			return op, err
		}
	}
	return w.other(ctx, name, opSetup, q.RequestID, func(rec *store.Instance, op *store.Operation) error {
		op.Setup = &q
		switch {
		case rec.State != api.StateRunning && rec.State != api.StateSetupFailed:
			return api.Errorf(api.CodeConflict, "%s is %s: only a running instance can be set up", rec.Name, rec.State).
				WithHint("berth start %s", rec.Name)
		}
		var err error
		op.Profiled, err = w.profiled(q.Profiles, &rec.Capabilities, rec.Backend)
		return err
	}, func(rec *store.Instance) { w.setState(rec, api.StateSettingUp, "") })
}

// profiled is what profiles come to. It refuses those that are not known, and all on a backend whose instances have no
// root.
func (w *Workspace) profiled(names []string, caps *api.Capabilities, backendName string) (*api.SetupPlan, error) {
	if len(names) == 0 {
		return nil, nil
	}
	if !caps.Profiles || w.opts.Profiles == nil {
		return nil, api.Errorf(api.CodeUnsupported, "set-up profiles can't be applied on backend %s: %s", backendName,
			orElse(caps.Why["profiles"], "they need root on the instance"))
	}
	plan, err := w.opts.Profiles(names, "")
	if errors.Is(err, backend.ErrNotFound) { // the call is wrong, no instance is missing
		e := *api.AsError(err)
		e.Code = api.CodeUsage
		err = &e
	}
	return &plan, err
}

// setupPlan is what a set-up carries out: the profiles' steps as they were when it was asked for, whatever was edited
// since, then the user's script, run once.
func (w *Workspace) setupPlan(profiled *api.SetupPlan, profiles []string,
	script, arch string) (plan api.SetupPlan, err error) {
	switch {
	case profiled != nil:
		plan = *profiled
		plan.Steps = slices.Clone(plan.Steps)
	case len(profiles) > 0: // asked of a build that did not keep them
		if plan, err = w.opts.Profiles(profiles, arch); err != nil {
			return plan, err
		}
	}
	if strings.TrimSpace(script) != "" {
		plan.Steps = append(plan.Steps, api.SetupStep{Name: "script", Title: "the set-up script", Script: script, Once: true})
	}
	return plan, nil
}

// runSetup sets up a fresh instance, or carries out a set-up operation, and calls the instance running.
func runSetup(ctx context.Context, w *Workspace, r *operation.Run) error {
	_, rec, err := w.target(r)
	if err != nil {
		return err
	}
	profiles, script, start := []string(nil), "", ""
	resume := false
	switch {
	case r.Record().Setup != nil:
		profiles, script, resume = r.Record().Setup.Profiles, r.Record().Setup.Setup, r.Record().Setup.Resume
	case rec.Spec != nil:
		profiles, script, start = rec.Spec.Profiles, rec.Spec.Setup, rec.Spec.OnStart
	}
	if resume {
		if err := w.resumeSetups(ctx, r, rec); err != nil {
			return err
		}
	} else if len(profiles) > 0 || strings.TrimSpace(script+start) != "" {
		client := w.AgentClient(rec)
		defer client.Close()
		info, err := client.Info(ctx)
		if err != nil {
			return noAgentForSetup(&rec, err)
		}
		plan, err := w.setupPlan(r.Record().Profiled, profiles, script, info.Arch)
		switch {
		case err != nil && rec.SetupID == r.ID:
			// A daemon before this one began it: the agent carries out what was planned then, if it has it.
			if _, none := client.Setup(ctx, r.ID, -1); none != nil {
				return err
			}
			plan = api.SetupPlan{}
		case err != nil:
			return err
		case strings.TrimSpace(start) != "":
			plan.Steps = append(plan.Steps, onStartStep(start))
		}
		plan.ID = r.ID
		// Known before it is begun: a killed daemon's successor asks the agent for the same plan.
		if err := w.keep(ctx, r.InstanceID, func(rec *store.Instance) {
			beginSetup(rec, store.Setup{ID: r.ID, Profiles: profiles, Script: strings.TrimSpace(script+start) != ""})
		}); err != nil {
			return err
		}
		if err := w.follow(ctx, r, rec, "setup", plan, false); err != nil {
			return err
		}
		if strings.TrimSpace(start) != "" {
			w.keepOnStart(ctx, &rec)
		}
	}
	return w.persist(ctx, r.InstanceID, func(e *entry) *store.Change {
		c := &store.Change{}
		if e == nil {
			return c // gone meanwhile
		}
		op, rec := r.Record(), e.rec
		op.Profiled = nil // of use no longer
		if !resume {
			endSetup(&rec)
		}
		if left := leftOver(&rec); left == "" {
			w.setState(&rec, api.StateRunning, "")
		} else {
			w.setState(&rec, api.StateSetupFailed, rec.SetupFailed)
			op.Warnings = append(op.Warnings, left)
		}
		c.Operations, c.Instances = []store.Operation{op}, []store.Instance{rec}
		return c
	})
}

func onStartStep(script string) api.SetupStep {
	return api.SetupStep{Name: "onstart", Title: "the start script", Script: script, Once: true}
}

// runOnStart runs the instance's start script, once for each boot.
func runOnStart(ctx context.Context, w *Workspace, r *operation.Run) error {
	_, rec, err := w.target(r)
	if err != nil || rec.Spec == nil || strings.TrimSpace(rec.Spec.OnStart) == "" {
		return err
	}
	client := w.AgentClient(rec)
	info, err := client.Info(ctx)
	client.Close()
	if err != nil {
		return noAgentForSetup(&rec, err)
	}
	if err := w.keepOp(ctx, r, func(op *store.Operation) []*api.Event {
		op.Boot = info.BootID
		return nil
	}); err != nil {
		return err
	}
	w.keepOnStart(ctx, &rec)
	op := r.Record()
	return w.follow(ctx, r, rec, "onstart", api.SetupPlan{ID: startPlan(&rec, &op),
		Steps: []api.SetupStep{onStartStep(rec.Spec.OnStart)}}, false)
}

// startPlan is the id of the plan of a start script: one for each boot. On a host of several instances the
// boot stays, and it is the start that counts.
func startPlan(rec *store.Instance, op *store.Operation) string {
	if rec.Line.Socket != "" {
		return "start-" + op.ID
	}
	return api.OnStartID(op.Boot)
}

// keepOnStart has the agent run the start script of a machine at boots of which nobody here knows, too. An agent
// that can't is no reason to fail: the script is run at the starts that Berth does.
func (w *Workspace) keepOnStart(ctx context.Context, rec *store.Instance) {
	if rec.Line.SSH == nil || rec.Adopted { // instances of this host do not boot
		return
	}
	client := w.AgentClient(*rec)
	defer client.Close()
	if err := client.KeepOnStart(ctx, api.SetupPlan{Steps: []api.SetupStep{onStartStep(rec.Spec.OnStart)}}); err != nil {
		w.log.Warn("the start script is not kept on the instance", "instance", rec.Name, "error", err)
	}
}

// noAgentForSetup explains why nothing can be set up without an agent.
func noAgentForSetup(rec *store.Instance, err error) error {
	var un *backend.AgentUnavailable
	if errors.As(err, &un) {
		return api.Errorf(api.CodeUnsupported, "%s can't be set up: no agent runs there (%s)", rec.Name, un.Reason)
	}
	return err
}

// capable is the error for what an instance can't do.
func capable(can bool, rec *store.Instance, what, name string) error {
	if can {
		return nil
	}
	return api.Errorf(api.CodeUnsupported, "%s can't be %s: %s", rec.Name, what, orElse(rec.Capabilities.Why[name],
		"backend "+rec.Backend+" has no such thing"))
}
