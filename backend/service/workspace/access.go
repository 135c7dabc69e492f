package workspace

import (
	"context"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/machine/keys"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// access makes what lets the workspace into the machine that r creates, and pins the host key that it
// hands in. A workspace without a key (its backends need none) hands in nothing, nor is there a line to
// secure to machines that are this host.
func (w *Workspace) access(ctx context.Context, r *operation.Run, b backend.Backend,
	spec *backend.Spec) (*backend.Access, error) {
	if !w.handsIn(b) {
		return nil, nil
	}
	k, err := keys.Open(w.opts.KeyPath) // made at the first need
	if err != nil {
		return nil, err
	}
	a := &backend.Access{AuthorizedKeys: []string{k.Authorized()}}
	if spec.SSH {
		theirs := keys.Users(ctx, backend.CallerFrom(ctx).Env)
		if len(theirs) == 0 {
			return nil, noKey()
		}
		a.AuthorizedKeys = append(a.AuthorizedKeys, theirs...)
	}
	var print string
	if a.HostKey, a.HostKeyPublic, print, err = k.HostKey(spec.Token); err != nil {
		return nil, err
	}
	return a, w.pin(ctx, r, print)
}

// handsIn reports whether machines of a backend are handed keys.
func (w *Workspace) handsIn(b backend.Backend) bool { return w.opts.KeyPath != "" && !b.Info().Private }

// checkKeys refuses SSH for users whom no key could let in.
func (w *Workspace) checkKeys(ctx context.Context, b backend.Backend, spec *backend.Spec) error {
	if w.handsIn(b) && spec.SSH && len(keys.Users(ctx, backend.CallerFrom(ctx).Env)) == 0 {
		return noKey()
	}
	return nil
}

func noKey() error {
	return api.Errorf(api.CodeUsage, "SSH was asked for, and you have no public key that could be let in").
		WithHint("ssh-keygen -t ed25519 makes one; without --ssh only Berth's own line is open")
}

// pin writes by which host keys the machine of r is known.
func (w *Workspace) pin(ctx context.Context, r *operation.Run, prints string) error {
	return w.keep(ctx, r.InstanceID, func(rec *store.Instance) {
		rec.HostKeys = prints
		rec.Line = w.lineOf(rec, rec.Line)
	})
}

// lineOf completes the line to a machine that Berth made: how it is known, and the key that opens it.
func (w *Workspace) lineOf(r *store.Instance, l backend.Line) backend.Line {
	if l.SSH == nil || !l.SSH.Made {
		return l
	}
	t := *l.SSH
	if r.Foreign {
		return w.foreignLine(r, t)
	}
	t.HostKey, t.PinnedBy, t.IdentityFile = r.HostKeys, r.Name, w.opts.KeyPath
	return backend.Line{SSH: &t}
}
