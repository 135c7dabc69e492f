package uitest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/backend/api"
	"berth/backend/service/store"
)

// memStore is a store in memory. The one of a daemon takes 26 ms to open and 4 s for the 10,000 instances of some
// tests, which open hundreds. It passes storetest.Run, as that one does.
type memStore struct {
	mu        sync.Mutex
	instances map[string]store.Instance
	names     map[string]string // ids, by backend and name
	docs      map[docKey]store.Document
	ops       map[string]store.Operation
	events    []api.Event
	seq       int64
	settings  map[string]string
}

// docKey names a document.
type docKey struct{ instanceID, kind string }

var _ store.Store = (*memStore)(nil)

func newMemStore() *memStore {
	return &memStore{instances: map[string]store.Instance{}, names: map[string]string{},
		docs: map[docKey]store.Document{}, ops: map[string]store.Operation{}, settings: map[string]string{}}
}

func nameKey(in *store.Instance) string { return in.Backend + "/" + strings.ToLower(in.Name) }

// memTx is what a transaction has done: how it is undone, and what its changes get when it is not.
type memTx struct{ undo, after []func() }

// Apply implements store.Store.
func (s *memStore) Apply(ctx context.Context, cs ...*store.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var t memTx
	for _, c := range cs {
		if err := s.apply(&t, c); err != nil {
			for _, f := range slices.Backward(t.undo) {
				f()
			}
			return err
		}
	}
	for _, f := range t.after {
		f()
	}
	return nil
}

// apply is Apply of one change. s.mu must be held.
func (s *memStore) apply(t *memTx, c *store.Change) error {
	for _, r := range c.RemoveInstances {
		was := s.instances[r.ID]
		if was.Revision != r.Revision || r.Revision == 0 {
			return store.Conflict("instance "+r.ID, was.Revision, r.Revision)
		}
		for k := range s.docs {
			if k.instanceID == r.ID {
				set(t, s.docs, k, nil)
			}
		}
		set(t, s.instances, r.ID, nil)
		set(t, s.names, nameKey(&was), nil)
	}
	for i := range c.Instances {
		if err := s.instance(t, &c.Instances[i]); err != nil {
			return err
		}
	}
	for i := range c.Documents {
		d := &c.Documents[i]
		k := docKey{d.InstanceID, d.Kind}
		has := s.docs[k].Revision
		if _, there := s.instances[d.InstanceID]; has != d.Revision || !there {
			return store.Conflict("the document \""+d.Kind+"\" of instance "+d.InstanceID, has, d.Revision)
		}
		now := *d
		now.Revision++
		set(t, s.docs, k, &now)
		t.after = append(t.after, func() { d.Revision++ })
	}
	for _, d := range c.RemoveDocuments {
		k := docKey{d.InstanceID, d.Kind}
		if has := s.docs[k].Revision; has != d.Revision {
			return store.Conflict("the document \""+d.Kind+"\" of instance "+d.InstanceID, has, d.Revision)
		}
		set(t, s.docs, k, nil)
	}
	for i := range c.Operations {
		op := &c.Operations[i]
		if has := s.ops[op.ID].Revision; has != op.Revision {
			return store.Conflict("operation "+op.ID, has, op.Revision)
		}
		now := *op
		now.Revision++
		set(t, s.ops, op.ID, &now)
		t.after = append(t.after, func() { op.Revision++ })
	}
	t.after = append(t.after, func() { // what can't fail
		for _, e := range c.Events {
			s.seq++
			e.Seq = s.seq
			s.events = append(s.events, *e)
		}
		maps.Copy(s.settings, c.Settings)
	})
	return nil
}

func (s *memStore) instance(t *memTx, in *store.Instance) error {
	was := s.instances[in.ID]
	if was.Revision != in.Revision {
		return store.Conflict("instance "+in.Name, was.Revision, in.Revision)
	}
	if other := s.names[nameKey(in)]; other != "" && other != in.ID {
		return api.Errorf(api.CodeStore, "there is an instance %q already", in.Name)
	}
	now := *in
	now.Features = store.Features{}
	now.Revision++
	set(t, s.instances, in.ID, &now)
	if was.Revision > 0 {
		set(t, s.names, nameKey(&was), nil)
	}
	set(t, s.names, nameKey(&now), &now.ID)
	t.after = append(t.after, func() { in.Revision++ })
	return nil
}

// set puts v into m, or takes away what is there, so that it can be undone.
func set[K comparable, V any](t *memTx, m map[K]V, k K, v *V) {
	was, ok := m[k]
	t.undo = append(t.undo, func() {
		if delete(m, k); ok {
			m[k] = was
		}
	})
	if delete(m, k); v != nil {
		m[k] = *v
	}
}

// Instances implements store.Store.
func (s *memStore) Instances(context.Context) ([]store.Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.instances)), nil
}

// Instance implements store.Store.
func (s *memStore) Instance(_ context.Context, id string) (store.Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in, ok := s.instances[id]; ok {
		return in, nil
	}
	return store.Instance{}, api.Errorf(api.CodeNotFound, "there is no instance with id %q", id)
}

// Documents implements store.Store.
func (s *memStore) Documents(_ context.Context, instanceID string) ([]store.Document, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []store.Document
	for k, d := range s.docs {
		if instanceID == "" || k.instanceID == instanceID {
			out = append(out, d)
		}
	}
	return out, nil
}

// Unfinished implements store.Store.
func (s *memStore) Unfinished(context.Context) ([]store.Operation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []store.Operation
	for _, op := range s.ops {
		if !op.State.Done() {
			out = append(out, op)
		}
	}
	slices.SortFunc(out, func(a, b store.Operation) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}

// Operation implements store.Store.
func (s *memStore) Operation(_ context.Context, id string) (store.Operation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if op, ok := s.ops[id]; ok {
		return op, nil
	}
	return store.Operation{}, api.Errorf(api.CodeNotFound, "there is no operation %q", id)
}

// Events implements store.Store.
func (s *memStore) Events(_ context.Context, q store.EventQuery) ([]api.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []api.Event{}
	for _, e := range s.events {
		if e.Seq > q.Since && (q.InstanceID == "" || e.InstanceID == q.InstanceID) &&
			(q.Called == "" || e.InstanceID == q.Called || strings.EqualFold(e.Instance, q.Called)) {
			out = append(out, e)
		}
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 1000
	}
	return out[max(0, len(out)-limit):], nil
}

// Setting implements store.Store.
func (s *memStore) Setting(_ context.Context, key string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings[key], nil
}

// Trim implements store.Store.
func (s *memStore) Trim(_ context.Context, keep int, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = slices.DeleteFunc(s.events, func(e api.Event) bool { return e.Seq <= s.seq-int64(keep) })
	maps.DeleteFunc(s.ops, func(_ string, op store.Operation) bool { return op.State.Done() && op.CreatedAt.Before(t) })
	return nil
}

// Close implements store.Store.
func (s *memStore) Close() error { return nil }
