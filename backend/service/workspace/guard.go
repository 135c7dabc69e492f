package workspace

// guard calls f and makes an error of a panic in it.
func (w *Workspace) guard(what string, f func() error) error { return w.guards.Do(what, f) }

// guarded is guard for a function with a result.
func guarded[T any](w *Workspace, what string, f func() (T, error)) (v T, err error) {
	err = w.guard(what, func() (err error) {
		v, err = f()
		return err
	})
	return v, err
}
