package storetest

import (
	"context"
	"sync"

	"berth/backend/api"
	"berth/backend/service/store"
)

// ErrFull is what a store says whose disk is full.
var ErrFull = api.Errorf(api.CodeStore, "writing to the store: the disk is full").
	WithHint("free some space, then try again; nothing was changed")

// Fault is how a transaction fails. The zero value: it does not.
type Fault struct {
	Err error
	// Written: it fails after it was written, as where the answer is lost.
	Written bool
}

// Failing is a store whose transactions may fail.
type Failing struct {
	store.Store
	// Fails is asked at each transaction; the first one's number is 1. It may be nil.
	Fails func(n int, cs []*store.Change) Fault

	mu sync.Mutex
	n  int
}

// Refusing is a Failing store that is full for the changes for which refuse is true.
func Refusing(s store.Store, refuse func(c *store.Change) bool) *Failing {
	return &Failing{Store: s, Fails: func(_ int, cs []*store.Change) Fault {
		for _, c := range cs {
			if refuse(c) {
				return Fault{Err: ErrFull}
			}
		}
		return Fault{}
	}}
}

// Apply implements store.Store.
func (f *Failing) Apply(ctx context.Context, cs ...*store.Change) error {
	f.mu.Lock()
	f.n++
	n := f.n
	f.mu.Unlock()
	var fault Fault
	if f.Fails != nil {
		fault = f.Fails(n, cs)
	}
	switch {
	case fault.Err == nil:
		return f.Store.Apply(ctx, cs...)
	case fault.Written:
		copies := make([]*store.Change, len(cs)) // who asked learns nothing of it
		for i, c := range cs {
			copies[i] = clone(c)
		}
		if err := f.Store.Apply(ctx, copies...); err != nil {
			return err
		}
	}
	return fault.Err
}

// clone copies what Apply changes of a change.
func clone(c *store.Change) *store.Change {
	out := *c
	out.Instances = append([]store.Instance{}, c.Instances...)
	out.Documents = append([]store.Document{}, c.Documents...)
	out.Operations = append([]store.Operation{}, c.Operations...)
	out.Events = nil
	for _, e := range c.Events {
		e := *e
		out.Events = append(out.Events, &e)
	}
	return &out
}

// stubborn is a store that is tried again where it is full.
type stubborn struct{ store.Store }

// Stubborn returns a store over s that fails at every other transaction, and tries it again.
func Stubborn(s store.Store) store.Store {
	return stubborn{&Failing{Store: s, Fails: func(n int, _ []*store.Change) Fault {
		if n%2 == 1 {
			return Fault{Err: ErrFull}
		}
		return Fault{}
	}}}
}

// Apply implements store.Store.
func (s stubborn) Apply(ctx context.Context, cs ...*store.Change) error {
	for {
		if err := s.Store.Apply(ctx, cs...); err != error(ErrFull) { // no other error of its code
			return err
		}
	}
}
