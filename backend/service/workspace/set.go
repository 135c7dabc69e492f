package workspace

import (
	"cmp"
	"context"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

// Set changes what the store says of an instance.
func (w *Workspace) Set(ctx context.Context, name string, q api.SetRequest) (api.Instance, error) {
	if err := q.Check(); err != nil {
		return api.Instance{}, err
	}
	rec, err := w.Record(name)
	if err != nil {
		return api.Instance{}, err
	}
	who := backend.CallerFrom(ctx).Principal
	me := who.ID
	if b := w.opts.Backends[rec.Backend]; b != nil {
		me = orElse(w.whoamiOf(ctx, rec.Backend, b), me)
	}
	var refused error
	err = w.update(rec.ID, func(e *entry) *store.Change {
		switch {
		case e == nil || w.isMe(who, e.rec.Backend, e.rec.Owner):
			return &store.Change{}
		case e.rec.Owner != "" && e.rec.Owner != api.OwnerUnknown:
			refused = api.Errorf(api.CodeForbidden, "%s belongs to %s: only what nobody is known to own can be taken",
				e.rec.Name, e.rec.Owner)
			return &store.Change{}
		}
		now := e.rec
		now.Owner = me
		return &store.Change{Instances: []store.Instance{now}, Events: []*api.Event{w.event("instance.owner", "info", &now,
			nil, who, "belongs to %s now; before: %s", me, orElse(e.rec.Owner, "nobody"))}}
	})
	if err = cmp.Or(refused, err); err != nil {
		return api.Instance{}, err
	}
	return w.Instance(ctx, rec.ID)
}
