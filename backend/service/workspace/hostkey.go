package workspace

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// settle is how long a machine is left alone, once it can be used, before it is asked for another host key: the
// first seconds belong to the user.
const settle = 2 * time.Second

// renewLater begins the renewal of an instance's host key, if it is still the one that Berth handed in and nothing is
// under way. It is renewed with an environment; nil: with the selectors of the last call.
func (w *Workspace) renewLater(id string, env map[string]string) {
	w.mu.Lock()
	e := w.entries[id]
	due := e != nil && e.run == nil && w.renews(&e.rec)
	w.mu.Unlock()
	if !due { // of most instances nothing is to be renewed: they need not be claimed for it
		return
	}
	ctx := backend.WithCaller(w.operations.Context(), &backend.Caller{Principal: backend.System, Env: env})
	_, err := w.claimed(id, func(e *entry) (api.Operation, error) {
		now := w.look(e)
		if now.run != nil || !w.renews(&now.rec) {
			return api.Operation{}, nil
		}
		ctx := w.inPlaceOf(ctx, now.rec.Backend, now.rec.Account)
		return w.begin(ctx, now.rec, store.Operation{Operation: api.Operation{ID: newID("op-"), Kind: opHostKey}})
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, backend.ErrNotFound) {
		w.log.Error("beginning the renewal of a host key", "instance", id, "error", err)
	}
}

// Renewing reports whether an instance's host key is being renewed.
func (r *Reconciler) Renewing(id string) bool {
	w := r.w
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[id]
	return e != nil && e.run != nil && e.run.Kind == opHostKey
}

// renews reports whether the host key of an instance's machine is to be renewed.
func (w *Workspace) renews(rec *store.Instance) bool {
	usable := rec.State == api.StateRunning || rec.State == api.StateSetupFailed
	made := rec.Line.SSH != nil && rec.Line.SSH.Made
	if !usable || rec.Sealed || rec.KeyKept != "" || rec.HostKeys == "" || !made {
		return false
	}
	_, ok := w.opts.Backends[rec.Backend].(backend.Sealer)
	return ok
}

// renewHostKey has a machine that Berth made replace its first host key, pins the new one, and has the old
// one removed from the provider. What can't be done is an event: the line is verified either way.
func renewHostKey(ctx context.Context, w *Workspace, r *operation.Run) error {
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	b, rec, err := w.target(r)
	if err != nil {
		return err
	}
	s, ok := b.(backend.Sealer)
	if !ok || w.hasSnapshots(ctx, b, &rec) { // a disk that goes back would show a key that is known no longer
		return nil
	}
	kept := func(why string) error {
		return w.persist(ctx, r.InstanceID, func(e *entry) *store.Change {
			op := r.Record()
			op.Warnings = append(op.Warnings, why)
			ev := w.event("hostkey.kept", "warn", nil, &op.Operation, backend.Principal{}, "%s", why)
			c := &store.Change{Operations: []store.Operation{op}, Events: []*api.Event{ev}}
			if e != nil {
				rec := e.rec
				rec.KeyKept = why
				c.Instances = []store.Instance{rec}
			}
			return c
		})
	}
	if err := w.changeHostKey(ctx, r, &rec); err != nil {
		var refused *keyRefused
		var none *backend.AgentUnavailable
		if errors.As(err, &refused) || errors.As(err, &none) {
			return kept(fmt.Sprintf("%s keeps the host key that was handed in with its first boot: %s", rec.Name, err))
		}
		return err // begun again later
	}
	w.opts.Fault(keyChanged)
	if err := w.retry(ctx, "sealing "+rec.Name, func(ctx context.Context) error {
		return s.Seal(ctx, ref(&rec))
	}); err != nil {
		return fmt.Errorf("removing the first host key of %s, which is no longer used, from its backend: %w", rec.Name, err)
	}
	return w.keep(ctx, r.InstanceID, func(rec *store.Instance) { rec.Sealed = true })
}

func (w *Workspace) hasSnapshots(ctx context.Context, b backend.Backend, rec *store.Instance) bool {
	s, ok := b.(backend.Snapshotter)
	if !ok {
		return false
	}
	list, err := within(ctx, w, "backend "+rec.Backend, func(ctx context.Context) ([]api.Snapshot, error) {
		return s.Snapshots(ctx, ref(rec))
	})
	return err != nil || len(list) > 0
}

// changeHostKey: the host key that was handed in with the first boot is known to the provider, so the machine
// makes one of its own, and takes it into use once it is pinned.
func (w *Workspace) changeHostKey(ctx context.Context, r *operation.Run, rec *store.Instance) error {
	made, err := w.hostKeyStep(ctx, rec, api.HostKeyNew)
	if err != nil {
		return err
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey([]byte(made.PublicKey))
	if err != nil {
		return api.Errorf(api.CodeFailed, "the machine does not show its new key: %w", err)
	}
	print := ssh.FingerprintSHA256(pub)
	// Both count until the new one is in use, whoever is killed meanwhile.
	if !strings.Contains(rec.HostKeys, print) {
		if err := w.pin(ctx, r, rec.HostKeys+","+print); err != nil {
			return err
		}
	}
	if _, err := w.hostKeyStep(ctx, rec, api.HostKeyUse); err != nil {
		return err
	}
	both := rec.HostKeys + "," + print
	if err := w.pin(ctx, r, print); err != nil {
		return err
	}
	// A new connection, which knows the new key only, tells that it is in use.
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, now, err := w.target(r)
		if err != nil {
			return err
		}
		client := w.AgentClient(now)
		_, err = client.Info(ctx)
		client.Close()
		var un *backend.AgentUnavailable
		if err == nil || errors.As(err, &un) {
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			if perr := w.pin(context.WithoutCancel(ctx), r, both); perr != nil {
				return perr
			}
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// hostKeyStep has the machine do one step of the renewal. What it can't do is a *keyRefused; other errors may
// pass: an agent that does not answer, is being replaced, or is too old and will be.
func (w *Workspace) hostKeyStep(ctx context.Context, rec *store.Instance, step string) (api.HostKey, error) {
	client := w.AgentClient(*rec)
	defer client.Close()
	k, err := client.RenewHostKey(ctx, step)
	if err != nil && ctx.Err() == nil {
		if code := api.AsError(err).Code; code == api.CodeForbidden || code == api.CodeFailed {
			err = &keyRefused{err}
		}
	}
	return k, err
}

// keyRefused is why a machine can't have another host key.
type keyRefused struct{ error }

func (e *keyRefused) Unwrap() error { return e.error }
