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
// tests, which open hundreds. TestStoreInMemory holds it to what that one answers.
type memStore struct {
	mu        sync.Mutex
	instances map[string]store.Instance
	names     map[string]string // ids, by backend and name
	ops       map[string]store.Operation
	events    []api.Event
	seq       int64
	settings  map[string]string
}

var _ store.Store = (*memStore)(nil)

func newMemStore() *memStore {
	return &memStore{instances: map[string]store.Instance{}, names: map[string]string{}, ops: map[string]store.Operation{},
		settings: map[string]string{}}
}

func nameKey(in *store.Instance) string { return in.Backend + "/" + strings.ToLower(in.Name) }

// Apply implements store.Store.
func (s *memStore) Apply(ctx context.Context, cs ...*store.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var undo []func()
	for _, c := range cs {
		for _, id := range c.RemoveInstances {
			undo = append(undo, s.remove(id))
		}
		for i := range c.Instances {
			in := &c.Instances[i]
			if other := s.names[nameKey(in)]; other != "" && other != in.ID {
				for _, f := range slices.Backward(undo) {
					f()
				}
				return api.Errorf(api.CodeStore, "there is an instance %q already", in.Name)
			}
			undo = append(undo, s.remove(in.ID), func() { s.remove(in.ID) })
			s.put(*in)
		}
	}
	for _, c := range cs { // what can't fail
		for _, op := range c.Operations {
			s.ops[op.ID] = op
		}
		for _, e := range c.Events {
			s.seq++
			e.Seq = s.seq
			s.events = append(s.events, *e)
		}
		maps.Copy(s.settings, c.Settings)
	}
	return nil
}

func (s *memStore) put(in store.Instance) { s.instances[in.ID], s.names[nameKey(&in)] = in, in.ID }

// remove takes an instance away, if it is there, and returns what puts it back. s.mu must be held.
func (s *memStore) remove(id string) (undo func()) {
	was, ok := s.instances[id]
	if !ok {
		return func() {}
	}
	delete(s.instances, id)
	delete(s.names, nameKey(&was))
	return func() { s.put(was) }
}

// Instances implements store.Store.
func (s *memStore) Instances(context.Context) ([]store.Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.instances)), nil
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
		if e.Seq > q.Since && (q.InstanceID == "" || e.InstanceID == q.InstanceID) {
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
