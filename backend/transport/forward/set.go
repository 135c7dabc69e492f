package forward

import (
	"context"
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
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.all {
		if f.id == id && f.o.Target == o.Target {
			return f.local, nil
		}
	}
	o.Place, o.Memory = s.place, s.memory
	f, err := Listen(o)
	if err != nil {
		return Local{}, err
	}
	s.all = append(s.all, kept{id, f})
	s.done.Go(func() { _ = f.Serve(s.ctx) })
	return f.local, nil
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
	for i, f := range s.all {
		if f.id == id && f.o.Target == t {
			_ = f.Close()
			s.all = append(s.all[:i], s.all[i+1:]...)
			return
		}
	}
}

// Close ends all of them, and waits for that.
func (s *Set) Close() {
	s.cancel()
	s.done.Wait()
}
