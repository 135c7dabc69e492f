package workspace

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"berth/backend"
	"berth/backend/api"
)

// Catalogue is what the backends offer, and say.
type Catalogue struct{ w *Workspace }

// Backends describes the backends, in name order.
func (c Catalogue) Backends(ctx context.Context) []api.BackendInfo {
	w := c.w
	out := []api.BackendInfo{}
	for _, name := range slices.Sorted(maps.Keys(w.opts.Backends)) {
		b := w.opts.Backends[name]
		info := b.Info()
		out = append(out, api.BackendInfo{Name: name, Title: info.Title, Whoami: w.whoamiOf(ctx, name, b),
			Capabilities: info.Capabilities})
	}
	return out
}

// Knows says, by its error, that there is no backend of that name.
func (c Catalogue) Knows(name string) error {
	w := c.w
	_, err := w.backend(name)
	return err
}

// Sizes lists the sizes of one backend, or of all that create and can be asked.
func (c Catalogue) Sizes(ctx context.Context, name string) ([]api.Size, error) {
	w := c.w
	return catalogue(ctx, w, name, backend.Backend.Sizes)
}

// Images lists the images of one backend, or of all that create.
func (c Catalogue) Images(ctx context.Context, name string) ([]api.Image, error) {
	w := c.w
	return catalogue(ctx, w, name, backend.Backend.Images)
}

func catalogue[T any](ctx context.Context, w *Workspace, name string,
	list func(backend.Backend, context.Context) ([]T, error)) ([]T, error) {
	out := []T{}
	if name != "" {
		b, err := w.backend(name)
		if err != nil {
			return nil, err
		}
		if !b.Info().Capabilities.Create {
			return nil, api.Errorf(api.CodeUnsupported, "backend %s creates nothing: it has no sizes and no images", name)
		}
		l, err := within(ctx, w, "backend "+name, func(ctx context.Context) ([]T, error) { return list(b, ctx) })
		return append(out, l...), err
	}
	var failed error
	reached := false
	for _, n := range slices.Sorted(maps.Keys(w.opts.Backends)) {
		b := w.opts.Backends[n]
		if !b.Info().Capabilities.Create {
			continue
		}
		l, err := within(ctx, w, "backend "+n, func(ctx context.Context) ([]T, error) { return list(b, ctx) })
		switch {
		case err == nil:
			out, reached = append(out, l...), true
		case errors.Is(err, backend.ErrUnreachable) || errors.Is(err, backend.ErrAuth):
			// One that can't be asked (there may be no such thing here) does not hide the others.
			w.log.Warn("listing what a backend offers", "backend", n, "error", err)
			failed = fmt.Errorf("backend %s: %w", n, err)
		default:
			return nil, fmt.Errorf("backend %s: %w", n, err)
		}
	}
	if !reached && failed != nil {
		return nil, failed
	}
	return out, nil
}

// Console returns the last output of an instance's console.
func (c Catalogue) Console(ctx context.Context, name string) (string, error) {
	w := c.w
	rec, err := w.Record(name)
	if err != nil {
		return "", err
	}
	b, err := w.backend(rec.Backend)
	if err != nil {
		return "", err
	}
	if !rec.Capabilities.Console {
		return "", api.Errorf(api.CodeUnsupported, "%s has no console: %s", rec.Name, orElse(rec.Capabilities.Why["console"],
			"its backend offers none"))
	}
	if rec.State == api.StateCreateFailed && rec.ProviderID == "" {
		return "", neverMade(&rec)
	}
	if err := w.accounts.check(ctx, &rec, ""); err != nil {
		return "", err
	}
	text, err := within(ctx, w, "backend "+rec.Backend, func(ctx context.Context) ([]byte, error) {
		return b.Console(ctx, ref(&rec))
	})
	return strings.ToValidUTF8(string(text), "?"), err
}
