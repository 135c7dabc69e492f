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

// A set-up that failed stays known while others are carried out, until it is gone on with or done anew: the
// last one in the record's own fields, those before it in Unfinished.

// unfinished lists the set-ups that can be gone on with, oldest first.
func unfinished(rec *store.Instance) []store.Setup {
	list := slices.Clone(rec.Unfinished)
	if last := lastSetup(rec); last.Failed != "" {
		list = append(list, last)
	}
	return list
}

func lastSetup(rec *store.Instance) store.Setup {
	return store.Setup{ID: rec.SetupID, Profiles: rec.SetupProfiles, Script: rec.SetupScript, Failed: rec.SetupFailed}
}

// setLast makes s the last set-up. What failed before stays the reason that is shown until s has ended.
func setLast(rec *store.Instance, s store.Setup) {
	rec.SetupID, rec.SetupProfiles, rec.SetupScript = s.ID, s.Profiles, s.Script
	if s.Failed != "" {
		rec.SetupFailed = s.Failed
	}
}

// beginSetup makes a new set-up the last one of a record; the one before it is kept if it failed, unless s does
// what was left of it.
func beginSetup(rec *store.Instance, s store.Setup) {
	if rec.SetupID == s.ID {
		return // begun already, by a daemon that was killed
	}
	rec.Unfinished = slices.DeleteFunc(unfinished(rec), func(old store.Setup) bool { return covers(s, old) })
	setLast(rec, s)
}

// resumeSetup makes an unfinished set-up the last one. It reports whether it is that now: one that went before may
// have done what was left of it.
func resumeSetup(rec *store.Instance, id string) bool {
	all := unfinished(rec)
	i := slices.IndexFunc(all, func(s store.Setup) bool { return s.ID == id })
	if i < 0 {
		return rec.SetupID == id
	}
	setLast(rec, all[i])
	rec.Unfinished = slices.Delete(all, i, i+1)
	return true
}

// endSetup notes that the last set-up has succeeded. One that is left then takes its place.
func endSetup(rec *store.Instance) {
	finished(rec)
	rec.SetupScript, rec.SetupFailed = false, ""
	done := store.Setup{Profiles: rec.Profiles}
	rec.Unfinished = slices.DeleteFunc(slices.Clone(rec.Unfinished),
		func(old store.Setup) bool { return len(old.Profiles) > 0 && covers(done, old) })
	if n := len(rec.Unfinished); n > 0 {
		setLast(rec, rec.Unfinished[n-1])
		rec.Unfinished = rec.Unfinished[:n-1]
	}
	if len(rec.Unfinished) == 0 {
		rec.Unfinished = nil
	}
}

// finished notes that the profiles of the last set-up are there.
func finished(rec *store.Instance) {
	for _, p := range rec.SetupProfiles {
		if !slices.Contains(rec.Profiles, p) {
			rec.Profiles = append(slices.Clone(rec.Profiles), p)
		}
	}
	rec.SetupProfiles = nil
}

// covers reports whether the set-up s does all that old has left: its profiles, perhaps in other versions, and
// a script where it has one.
func covers(s, old store.Setup) bool {
	for _, p := range old.Profiles {
		if !slices.ContainsFunc(s.Profiles, func(q string) bool { return q == p || profileName(q) == profileName(p) }) {
			return false
		}
	}
	return s.Script || !old.Script
}

// profileName is a profile without the version that was chosen: cuda of "cuda=12.4". With another variable it
// is another thing: "conda:env=ml".
func profileName(p string) string {
	if strings.Contains(p, ":") {
		return p
	}
	name, _, _ := strings.Cut(p, "=")
	return name
}

// resumeSetups goes on with what is unfinished, oldest first, until one fails.
func (w *Workspace) resumeSetups(ctx context.Context, r *operation.Run, rec store.Instance) error {
	change := func(f func(*store.Instance)) error { return w.keep(ctx, r.InstanceID, f) }
	todo := unfinished(&rec)
	if len(todo) == 0 { // it has not failed, but may be cut off from what followed it
		todo = []store.Setup{lastSetup(&rec)}
	}
	for _, s := range todo {
		left := true
		err := change(func(rec *store.Instance) { left = resumeSetup(rec, s.ID) })
		if err == nil && left {
			err = w.follow(ctx, r, rec, "setup", api.SetupPlan{ID: s.ID}, true)
		}
		if err == nil && left {
			err = change(endSetup)
		}
		if len(s.Profiles) > 0 && errors.Is(err, &api.Error{Code: api.CodeNotFound}) { // the agent keeps 20
			return api.AsError(err).WithHint("begin it anew: berth setup %s --profile %s", rec.Name, strings.Join(s.Profiles,
				","))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leftOver says that an older set-up is still unfinished; "" where none is.
func leftOver(rec *store.Instance) string {
	if rec.SetupFailed == "" {
		return ""
	}
	what := "an older set-up of " + rec.Name
	if len(rec.SetupProfiles) > 0 {
		what += " (" + strings.Join(rec.SetupProfiles, ", ") + ")"
	}
	return what + " failed and is not finished; go on with it: berth setup " + rec.Name +
		" --resume, or let go of it: --forget"
}

// idleSetup reports whether no set-up can be gone on with: none failed, and none is cut off.
func idleSetup(rec *store.Instance) bool {
	return len(unfinished(rec)) == 0 && len(rec.SetupProfiles) == 0 && !rec.SetupScript
}

// nothingUnfinished answers a --resume where there is nothing to do.
func (w *Workspace) nothingUnfinished(ctx context.Context, name string,
	q api.SetupRequest) (op api.Operation, idle bool, err error) {
	op, err = w.claimed(name, func(e *entry) (api.Operation, error) {
		now := w.look(e)
		if now.run != nil || now.rec.State == api.StateCreateFailed || !idleSetup(&now.rec) {
			return api.Operation{}, nil
		}
		idle = true
		return w.setUpAlready(ctx, &now.rec, q, &store.Change{}, nil,
			"nothing is unfinished: every set-up of "+now.rec.Name+" has succeeded or was let go of")
	})
	return op, idle, err
}

// setUpAlready is doneAtOnce for a set-up, with what it has to say.
func (w *Workspace) setUpAlready(ctx context.Context, rec *store.Instance, q api.SetupRequest, c *store.Change,
	then func(),
	says string) (api.Operation, error) {
	op := store.Operation{Operation: api.Operation{ID: operationID(q.RequestID), Kind: opSetup, Warnings: []string{says}},
		Setup: &q}
	return w.doneAtOnce(ctx, rec, op, c, then)
}

// forgetSetups gives up every set-up that is unfinished. What its steps did stays.
func (w *Workspace) forgetSetups(ctx context.Context, name string, q api.SetupRequest) (api.Operation, error) {
	var tell func() // the agent, when it is stored
	op, err := w.free(ctx, name, opSetup, func(e *entry, now seen) (api.Operation, error) {
		switch {
		case now.run != nil:
			return api.Operation{}, underWay(now)
		case now.rec.State == api.StateCreateFailed:
			return api.Operation{}, neverMade(&now.rec)
		case idleSetup(&now.rec):
			return w.setUpAlready(ctx, &now.rec, q, &store.Change{}, nil,
				"nothing is unfinished: "+now.rec.Name+" has no set-up to let go of")
		}
		rec := now.rec
		given, says := w.giveUp(&rec)
		ev := w.event("setup.forgotten", "info", &rec, nil, backend.CallerFrom(ctx).Principal, "%s", says)
		if now.agent != nil && now.agent.State == "ready" {
			tell = func() { w.giveUpSetups(ctx, rec, given) }
		}
		c := &store.Change{Instances: []store.Instance{rec}, Events: []*api.Event{ev}}
		return w.setUpAlready(ctx, &rec, q, c, func() { e.lastOp = nil }, says)
	})
	if err == nil && tell != nil {
		tell()
	}
	return op, err
}

// giveUp makes a record one without an unfinished set-up, and says what was given up.
func (w *Workspace) giveUp(rec *store.Instance) (given []store.Setup, says string) {
	given = unfinished(rec)
	if len(given) == 0 {
		given = []store.Setup{lastSetup(rec)}
	}
	setLast(rec, store.Setup{})
	rec.SetupFailed, rec.Unfinished = "", nil
	if rec.State == api.StateSetupFailed {
		w.setState(rec, api.StateRunning, "")
	}
	var what []string
	for _, s := range given {
		what = append(what, s.Profiles...)
		if s.Script {
			what = append(what, "a script")
		}
	}
	return given, "given up: " + orElse(strings.Join(what, ", "), "a script") + "; what its steps did stays as it is"
}

// giveUpSetups tells the agent, so that it goes on with none when its machine restarts.
func (w *Workspace) giveUpSetups(ctx context.Context, rec store.Instance, given []store.Setup) {
	ctx, cancel := context.WithTimeout(ctx, min(w.limits.Call, 10*time.Second))
	defer cancel()
	client := w.AgentClient(rec)
	defer client.Close()
	for _, s := range given {
		if _, err := client.CancelSetup(ctx, s.ID); err != nil && !errors.Is(err, &api.Error{Code: api.CodeNotFound}) {
			w.log.Warn("the agent is not told that a set-up was given up", "instance", rec.Name, "setup", s.ID, "error", err)
		}
	}
}
