package workspace

import (
	"context"

	"berth/backend/api"
)

// within makes one call of a provider that somebody waits for, within the limit of one call: a provider
// that hangs must not hold up its caller for ever, nor one that panics end the daemon.
func within[T any](ctx context.Context, w *Workspace, what string, f func(context.Context) (T, error)) (T, error) {
	cctx, cancel := context.WithTimeout(ctx, w.limits.Call)
	defer cancel()
	v, err := guarded(w, what, func() (T, error) { return f(cctx) })
	if err != nil && cctx.Err() != nil && ctx.Err() == nil {
		err = api.Errorf(api.CodeUnreachable, "%s: no answer within %s", what, w.limits.Call)
	}
	return v, err
}
