package forward

import (
	"context"
	"slices"
	"sync"
)

// Here is a forward of a Set as it stands.
type Here struct {
	Target
	Local
	Open, All int // connections that are open, and how many there were with those
}

// Set is the forwards of a program that goes on doing other things. They live until they are ended, or the Set is
// closed. It is safe for concurrent use.
type Set struct {
	place  Place
	memory *Memory
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu  sync.Mutex
	all []kept
}

// kept is one of them, by the instance that it leads to.
type kept struct {
	id string
	*Forward
}

// NewSet returns a Set whose forwards listen at a place. Close ends it.
func NewSet(place Place) *Set {
	s := &Set{place: place, memory: NewMemory()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Begin forwards to a target of the instance with an id, and says where; if that is done already, it says where. Place
// and Memory of the options are the Set's own.
func (s *Set) Begin(id string, o Options) (Local, error) {
	if l, ok := s.find(id, o.Target); ok {
		return l, nil
	}
	o.Place, o.Memory = s.place, s.memory
	f, err := Listen(o) // not under the lock: who holds a port takes a while to find
	if err != nil {
		return Local{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.index(id, o.Target); i >= 0 { // somebody was faster
		_ = f.Close()
		return s.all[i].local, nil
	}
	if s.ctx.Err() != nil {
		_ = f.Close()
		return Local{}, s.ctx.Err()
	}
	s.all = append(s.all, kept{id, f})
	s.done.Go(func() { _ = f.Serve(s.ctx) })
	return f.local, nil
}

func (s *Set) find(id string, t Target) (Local, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.index(id, t); i >= 0 {
		return s.all[i].local, true
	}
	return Local{}, false
}

// index is where a forward stands, or -1; s.mu is held.
func (s *Set) index(id string, t Target) int {
	return slices.IndexFunc(s.all, func(f kept) bool { return f.id == id && f.o.Target == t })
}

// Of lists the forwards to an instance, oldest first.
func (s *Set) Of(id string) []Here {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Here
	for _, f := range s.all {
		if f.id == id {
			h := Here{Target: f.o.Target, Local: f.local}
			h.Open, h.All = f.Connections()
			out = append(out, h)
		}
	}
	return out
}

// End ends a forward, with its connections.
func (s *Set) End(id string, t Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.index(id, t); i >= 0 {
		_ = s.all[i].Close()
		s.all = slices.Delete(s.all, i, i+1)
	}
}

// Close ends all of them, and waits for that; nothing may be begun any more.
func (s *Set) Close() {
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock()
	s.done.Wait()
}
