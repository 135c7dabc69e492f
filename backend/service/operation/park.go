package operation

import (
	"context"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

// Parked is the error of a step that can't go on with the environment that its operation has: the next daemon runs an
// operation with the selectors of the call that asked for it, and has none of its secrets. The operation stays under
// way, and the step is tried again when a call offers what is missing.
type Parked struct {
	Needs string // what it needs, for people: "needs AWS_SECRET_ACCESS_KEY, …"
}

// Error implements error.
func (p Parked) Error() string { return p.Needs }

// park waits until a call offers what step i of r needs. An event says that it waits, unless it was said already.
func (e *Engine) park(ctx context.Context, r *Run, i int, needs, said string) error {
	offered := r.park()
	defer r.unpark()
	err := e.host.Write(ctx, r, func(op *store.Operation) []*api.Event {
		op.Steps[i].Message = needs
		if needs == said {
			return nil
		}
		return []*api.Event{e.event("operation.parked", "warn", op, op.Verb()+" waits: it "+needs)}
	})
	if err != nil {
		return err
	}
	select {
	case <-offered:
		return e.host.Write(ctx, r, func(op *store.Operation) []*api.Event {
			op.Steps[i].Message = ""
			return nil
		})
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *Run) park() (offered <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parked = make(chan struct{})
	return r.parked
}

func (r *Run) unpark() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parked = nil
}

// offer makes c's environment that of a parked operation, if it fits.
func (r *Run) offer(c *backend.Caller) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.parked == nil || len(c.Env) == 0 || r.op.Principal != "" && r.op.Principal != c.Principal.ID ||
		len(r.op.Selectors) > 0 && !backend.SameAccount(c.Env, r.op.Selectors) {
		return
	}
	for _, name := range r.op.Withheld {
		if c.Env[name] == "" {
			return
		}
	}
	r.caller = &backend.Caller{Principal: r.caller.Principal, Env: c.Env}
	close(r.parked)
	r.parked = nil
}

// Offer tells of a call. Operations of the same principal that are parked go on with its environment, where that names
// the same account and has all that they were begun with.
func (e *Engine) Offer(c *backend.Caller) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.runs {
		r.offer(c)
	}
}

// Parked counts the operations under way that wait for a call. They need no daemon: the next one knows of them.
func (e *Engine) Parked() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.runs {
		r.mu.Lock()
		if r.parked != nil {
			n++
		}
		r.mu.Unlock()
	}
	return n
}
