package operation

import (
	"log/slog"
	"runtime"
	"runtime/debug"

	"berth/backend/api"
)

// Guard makes errors of panics.
type Guard struct {
	Log *slog.Logger
	// Dies, if not nil, says whether a panic ends its goroutine, as a kill of the process would. Tests set it.
	Dies func(v any) bool
}

// Do calls f and makes an error of a panic in it, with the stack in the log: what f does ends for it, never the
// daemon. A panic in a goroutine that a backend begins itself is out of its reach.
func (g *Guard) Do(what string, f func() error) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if g.Dies != nil && g.Dies(v) {
			runtime.Goexit()
		}
		g.Log.Error("a panic: this is a fault of Berth", "in", what, "panic", v, "stack", string(debug.Stack()))
		err = api.Errorf(api.CodeFailed, "%s: a fault of Berth (panic: %v)", what, v).
			WithHint("the daemon's log has the stack: please report it")
	}()
	return f()
}
