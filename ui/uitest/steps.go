package uitest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/backend/api"
)

// held is how far an operation may go. A call that it makes of its provider or of an agent waits until its step may
// end.
type held struct {
	steps int        // how many may end
	free  bool       // all
	fail  *api.Error // what the next call fails with
	at    int        // the step whose call waits, or has waited
}

// of returns how far an operation may go; w.mu must be held.
func (w *Workspace) of(op string) *held {
	h := w.held[op]
	if h == nil {
		h = &held{at: -1}
		w.held[op] = h
	}
	return h
}

// signal wakes who waits for a change of what is held; w.mu must be held.
func (w *Workspace) signal() {
	close(w.moved)
	w.moved = make(chan struct{})
}

// underWay is the operation under way on an instance, and at which step it is; -1: none.
func (w *Workspace) underWay(instance string) (op string, step int) {
	for _, o := range w.real.Operations() {
		if o.InstanceID == instance {
			return o.ID, running(&o)
		}
	}
	return "", -1
}

func running(op *api.Operation) int {
	return slices.IndexFunc(op.Steps, func(s api.Step) bool { return s.State == api.OpRunning })
}

// gate waits while the operation on an instance is held at its step.
func (w *Workspace) gate(ctx context.Context, instance string) error {
	for {
		op, step := w.underWay(instance)
		if step < 0 {
			return nil
		}
		moved, done, err := w.pass(op, step)
		if done {
			return err
		}
		var over <-chan time.Time
		if w.Step > 0 {
			over = time.After(w.Step)
		}
		select {
		case <-moved:
		case <-over:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// pass reports whether a call of an operation at a step need not wait, or what to wait for.
func (w *Workspace) pass(op string, step int) (moved <-chan struct{}, done bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.of(op)
	if h.fail != nil {
		err, h.fail, h.free = h.fail, nil, true
		return nil, true, err
	}
	if h.free || step < h.steps {
		return nil, true, nil
	}
	if h.at != step { // said once
		h.at = step
		w.signal()
	}
	return w.moved, false, nil
}

// release lets an operation go on to its end, or fail at the step where it is.
func (w *Workspace) release(op string, fail *api.Error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.of(op)
	h.fail, h.free = fail, fail == nil
	w.signal()
}

// rest waits until an operation has ended or is held.
func (w *Workspace) rest(id string) {
	if w.Step > 0 {
		return // it goes on by itself
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sub := w.real.SubscribeEvents()
	defer sub.Close()
	for {
		op, err := w.real.Operation(ctx, id)
		if err != nil || op.State.Done() {
			w.real.Len() // what it published is published when this answers
			return
		}
		w.mu.Lock()
		h, step := w.of(id), running(&op)
		stands := step >= 0 && h.at == step && step >= h.steps && !h.free && h.fail == nil
		moved := w.moved
		w.mu.Unlock()
		if stands {
			return
		}
		if ctx.Err() != nil {
			panic(fmt.Sprintf("the operation %s of %s does not come to rest", op.Kind, op.Instance))
		}
		either(ctx, moved, func(ctx context.Context) { sub.Next(ctx) })
	}
}

// either calls f with a context that ends with ctx and when ch is closed.
func either(ctx context.Context, ch <-chan struct{}, f func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-ch:
			cancel()
		case <-ctx.Done():
		}
	})
	f(ctx)
	cancel()
	wg.Wait()
}

// begun notes an operation, and waits until it stands still at its first step.
func (w *Workspace) begun(op api.Operation, err error) (api.Operation, error) {
	if err != nil {
		return op, err
	}
	w.mu.Lock()
	if !slices.Contains(w.began, op.ID) {
		w.began = append(w.began, op.ID)
	}
	w.mu.Unlock()
	w.rest(op.ID)
	return w.real.Operation(context.Background(), op.ID)
}

// operation is the id of an operation: "op-1" is the first that was begun.
func (w *Workspace) operation(id string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := strconv.Atoi(strings.TrimPrefix(id, "op-"))
	if err != nil || n < 1 || n > len(w.began) {
		panic(fmt.Sprintf("there is no operation %s: %d were begun", id, len(w.began)))
	}
	return w.began[n-1]
}

// Advance takes an operation one step on and reports whether there is another. "op-1" is the first that was begun.
func (w *Workspace) Advance(id string) bool {
	id = w.operation(id)
	op, err := w.real.Operation(context.Background(), id)
	if err != nil || op.State.Done() {
		return false
	}
	w.mu.Lock()
	w.of(id).steps = running(&op) + 1
	w.signal()
	w.mu.Unlock()
	w.rest(id)
	op, err = w.real.Operation(context.Background(), id)
	return err == nil && !op.State.Done()
}

// Finish takes an operation to its end.
func (w *Workspace) Finish(id string) {
	id = w.operation(id)
	w.release(id, nil)
	w.rest(id)
}

// FailOp has an operation's next call fail, at its present step.
func (w *Workspace) FailOp(id string, e *api.Error) {
	id = w.operation(id)
	w.release(id, e)
	w.rest(id)
}
