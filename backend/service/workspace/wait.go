package workspace

import (
	"context"
	"errors"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// store merges what the provider said into the record, durably.
func (w *Workspace) store(ctx context.Context, r *operation.Run, m *backend.Machine) error {
	_, rec, err := w.target(r)
	if err != nil {
		return err
	}
	account, _ := w.accounts.of(ctx, rec.Backend) // it has just been asked, and will be known the next time
	return w.persist(ctx, r.InstanceID, func(e *entry) *store.Change {
		if e == nil {
			return &store.Change{} // gone meanwhile
		}
		rec := e.rec
		rec.Account = orElse(rec.Account, account)
		if !w.merge(&rec, m) && rec.Account == e.rec.Account { // a machine that is waited for says the same again and again
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
				return false, api.Errorf(api.CodeFailed, "the machine of %s is %s: %s", r.Instance, m.State,
					orElse(m.Reason, "the provider gives no reason"))
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
func (w *Workspace) poll(ctx context.Context, r *operation.Run,
	check func(*backend.Machine, error) (bool, error)) error {
	b, rec, err := w.target(r)
	if err != nil {
		return err
	}
	wait := time.Duration(0)
	var last error
	for {
		m, err := w.pollers.next(ctx, rec.Backend, b, ref(&rec), rec.Adopted, wait)
		err = w.accounts.missing(ctx, &rec, err)
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
