package operation

import (
	"context"
	"slices"
	"sync"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

// Run is an operation under way. Its exported fields do not change.
type Run struct {
	ID, Kind             string
	InstanceID, Instance string
	// Resumed: an earlier daemon began it.
	Resumed bool

	plan   Plan
	said   []string // what another build's steps could not be matched to, to be written
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{}

	mu     sync.Mutex
	op     store.Operation // as it is stored, and what is only shown (Note); its first steps are those of plan
	caller *backend.Caller
	parked chan struct{} // closed by an offer that fits; nil: it is not parked
}

func (e *Engine) newRun(op store.Operation, caller *backend.Caller) *Run {
	r := &Run{ID: op.ID, Kind: op.Kind, InstanceID: op.InstanceID, Instance: op.Instance, plan: e.plans[op.Kind],
		done: make(chan struct{}), op: op, caller: caller}
	r.ctx, r.cancel = context.WithCancelCause(e.ctx)
	return r
}

// Caller is who asked for the operation, with the environment that it runs with.
func (r *Run) Caller() *backend.Caller {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.caller
}

// Snapshot copies the operation's document as clients see it.
func (r *Run) Snapshot() api.Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	op := r.op.Operation
	op.Steps = append([]api.Step{}, op.Steps...)
	return op
}

// Record copies the operation's durable document.
func (r *Run) Record() store.Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	op := r.op
	op.Steps = append([]api.Step{}, op.Steps...)
	op.Warnings = slices.Clip(op.Warnings)
	return op
}

// Stored is to be called when a document of the operation has been stored: from then on it is what is shown.
func (r *Run) Stored(op store.Operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.op = op
}

// Note changes what is shown of a step under way, without storing it: it says nothing that the next daemon would need.
// It reports whether anything that is shown has changed.
func (r *Run) Note(step string, change func(*api.Step)) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.op.Steps {
		s := &r.op.Steps[i]
		if s.Name != step || s.State != api.OpRunning {
			continue
		}
		was := *s
		change(s)
		changed = changed || s.Message != was.Message || s.DoneBytes != was.DoneBytes || s.Parts != nil
	}
	return changed
}

// Done is closed when the operation has ended, or was left to the next daemon.
func (r *Run) Done() <-chan struct{} { return r.done }

// GiveUp ends the operation for another one, of the kind by, and waits until it has ended.
func (r *Run) GiveUp(ctx context.Context, by string) error {
	r.cancel(Superseded{by})
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Superseded is the cause that ends an operation for another one.
type Superseded struct{ By string }

// Error implements error.
func (e Superseded) Error() string { return "given up for " + e.By }
