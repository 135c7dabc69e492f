package workspace

import (
	"runtime"
	"runtime/debug"

	"berth/backend/api"
)

// guard calls f and makes an error of a panic in it, with the stack in the log: what f does ends for it, never the
// daemon. A panic in a goroutine that a backend begins itself is out of its reach.
func (w *Workspace) guard(what string, f func() error) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if w.dies != nil && w.dies(v) {
			runtime.Goexit()
		}
		w.log.Error("a panic: this is a fault of Berth", "in", what, "panic", v, "stack", string(debug.Stack()))
		err = api.Errorf(api.CodeFailed, "%s: a fault of Berth (panic: %v)", what, v).WithHint("the daemon's log has the stack: please report it")
	}()
	return f()
}

// guarded is guard for a function with a result.
func guarded[T any](w *Workspace, what string, f func() (T, error)) (v T, err error) {
	err = w.guard(what, func() (err error) {
		v, err = f()
		return err
	})
	return v, err
}

// unlocked calls f without w.mu, which must be held, and is held again afterwards whatever becomes of f.
func (w *Workspace) unlocked(f func()) {
	w.mu.Unlock()
	defer w.mu.Lock()
	f()
}
