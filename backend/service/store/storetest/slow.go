package storetest

import (
	"context"
	"slices"
	"sync"
	"time"

	"berth/backend/service/store"
)

// Slow is a store whose transactions take their time, or wait while it is held.
type Slow struct {
	store.Store
	// Delay is how long each transaction takes longer.
	Delay time.Duration
	// Waiting gets a value for each transaction that waits.
	Waiting chan struct{}

	mu           sync.Mutex
	held         chan struct{} // nil: nothing waits
	transactions []int
}

// NewSlow returns a store over s that can be held.
func NewSlow(s store.Store) *Slow { return &Slow{Store: s, Waiting: make(chan struct{}, 1000)} }

// Apply implements store.Store.
func (s *Slow) Apply(ctx context.Context, cs ...*store.Change) error {
	s.mu.Lock()
	held := s.held
	s.transactions = append(s.transactions, len(cs))
	s.mu.Unlock()
	if held != nil {
		s.Waiting <- struct{}{}
		<-held
	}
	if s.Delay > 0 {
		time.Sleep(s.Delay)
	}
	return s.Store.Apply(ctx, cs...)
}

// Hold makes transactions wait until the returned function is called.
func (s *Slow) Hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = make(chan struct{})
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(s.held)
		s.held = nil
	})
}

// Transactions are how many changes each transaction had, of all since Forget.
func (s *Slow) Transactions() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.transactions)
}

// Forget lets Transactions begin anew.
func (s *Slow) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.transactions = nil
}
