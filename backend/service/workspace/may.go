package workspace

import (
	"context"

	"berth/backend"
	"berth/backend/api"
)

// Policy reports whether a principal may do an action: on an instance, or on the workspace, where in is nil. It is
// called with locks held and must not wait for anything.
type Policy func(p backend.Principal, a api.Action, in *api.Instance) bool

// Everything is the policy of a personal workspace, whose door lets in one person alone.
func Everything(backend.Principal, api.Action, *api.Instance) bool { return true }

// May returns an error with CodeForbidden unless the caller of ctx may do the action on an instance, or on the
// workspace, where in is nil. It is the one place where that is decided.
//
// Whatever the policy says, rule zero counts: what gives a person's data or a shell on an instance (ActionAccess) is
// for whom it is assigned to, and for its owner where it is assigned to nobody.
func (w *Workspace) May(ctx context.Context, a api.Action, in *api.Instance) error {
	p := backend.CallerFrom(ctx).Principal
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.may(p, a, in) {
		return nil
	}
	if !w.opts.Policy(p, a, in) {
		where := "this workspace"
		if in != nil {
			where = in.Name
		}
		return api.Errorf(api.CodeForbidden, "%s may not do that: on %s it needs %s", orElse(p.Name, "nobody"), where, a).
			WithHint("who manages the workspace can allow it")
	}
	const only = "only they may open a shell there, read its console or change what is on it"
	switch {
	case in.AssignedTo != "":
		return api.Errorf(api.CodeForbidden, "%s is assigned to %s: %s", in.Name, in.AssignedTo, only)
	case in.Owner == api.OwnerUnknown:
		return api.Errorf(api.CodeForbidden, "%s was found at backend %s, and nobody here is known to own it", in.Name,
			in.Backend).WithHint("if it is yours: berth set %s owner=me", in.Name)
	}
	return api.Errorf(api.CodeForbidden, "%s belongs to %s: %s", in.Name, in.Owner, only)
}

// may decides for May. w.mu must be held.
func (w *Workspace) may(p backend.Principal, a api.Action, in *api.Instance) bool {
	return w.opts.Policy(p, a, in) && (a != api.ActionAccess || in == nil || w.mine(p, in))
}

// mine reports whether an instance is the principal's: assigned to them, or theirs and assigned to nobody. w.mu must be
// held.
func (w *Workspace) mine(p backend.Principal, in *api.Instance) bool {
	if in.AssignedTo != "" {
		return w.isMe(p, in.Backend, in.AssignedTo)
	}
	return in.Owner == "" || w.isMe(p, in.Backend, in.Owner)
}

// view completes the document of an instance for one principal, and reports whether they may see it. w.mu must be held.
func (w *Workspace) view(p backend.Principal, in *api.Instance) bool {
	in.Mine, in.Denied = w.mine(p, in), nil
	for _, a := range api.Actions() {
		if a != api.ActionCheckName && !w.may(p, a, in) {
			in.Denied = append(in.Denied, a)
		}
	}
	return w.may(p, api.ActionRead, in)
}

// MaySee reports whether the caller of ctx may read what is said of the instance with that id. What is said of one that
// is gone is for those who may read the workspace.
func (w *Workspace) MaySee(ctx context.Context, id string) bool {
	p := backend.CallerFrom(ctx).Principal
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.maySee(p, id)
}

func (w *Workspace) maySee(p backend.Principal, id string) bool {
	var in *api.Instance
	if e := w.entries[id]; e != nil {
		in = &e.rec.Instance
	}
	return w.may(p, api.ActionRead, in)
}

// Seen completes the documents of instances for the caller of ctx, in place, leaving out those that they may not see.
func (w *Workspace) Seen(ctx context.Context, all []api.Instance) []api.Instance {
	p := backend.CallerFrom(ctx).Principal
	w.mu.Lock()
	defer w.mu.Unlock()
	out := all[:0]
	for i := range all {
		if w.view(p, &all[i]) {
			out = append(out, all[i])
		}
	}
	return out
}

// For completes changes for the caller of ctx, leaving out what they may not see.
func (w *Workspace) For(ctx context.Context, changes []api.Change) []api.Change {
	p := backend.CallerFrom(ctx).Principal
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]api.Change, 0, len(changes))
	for _, c := range changes {
		see := true
		switch {
		case c.Instance != nil:
			in := *c.Instance // others are told of it, too
			see = w.view(p, &in)
			c.Instance = &in
		case c.Event != nil:
			see = w.maySee(p, c.Event.InstanceID)
		case c.Operation != nil:
			see = w.maySee(p, c.Operation.InstanceID)
		}
		if see {
			out = append(out, c)
		}
	}
	return out
}
