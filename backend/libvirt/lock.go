package libvirt

import (
	"context"
	"sync"
)

// keyLock locks by key; waiting ends with ctx.
type keyLock struct {
	mu sync.Mutex
	m  map[string]*keyed
}

type keyed struct {
	sem   chan struct{}
	users int
}

// lock returns the function that unlocks.
func (k *keyLock) lock(ctx context.Context, key string) (func(), error) {
	k.mu.Lock()
	if k.m == nil {
		k.m = map[string]*keyed{}
	}
	e := k.m[key]
	if e == nil {
		e = &keyed{sem: make(chan struct{}, 1)}
		k.m[key] = e
	}
	e.users++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if e.users--; e.users == 0 {
			delete(k.m, key)
		}
	}
	if err := ctx.Err(); err != nil {
		leave()
		return nil, err
	}
	select {
	case e.sem <- struct{}{}:
		return func() { <-e.sem; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// once keeps the answer of a call for as long as one connection lasts.
type once[T any] struct {
	mu   sync.Mutex
	from *conn
	v    T
}

func (o *once[T]) get(c *conn) (T, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.v, o.from == c && c != nil
}

func (o *once[T]) set(c *conn, v T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.v, o.from = v, c
}
