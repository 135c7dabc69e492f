package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Writer is the one who writes a store: callers queue their changes, and what is queued while a transaction is written
// goes into the next one together (group commit). A disk that takes 5 ms for a transaction so takes 5 ms for one
// change, and little more for 50. It is safe for concurrent use.
type Writer struct {
	store Store

	mu      sync.Mutex
	queue   []*write
	writing bool // a goroutine works on the queue
	closed  bool
	wg      sync.WaitGroup
}

// write is one queued change.
type write struct {
	c       *Change
	applied func()
	err     error
	panic   any // of applied
	done    chan struct{}
}

// NewWriter returns a writer of s. Close it before s.
func NewWriter(s Store) *Writer { return &Writer{store: s} }

// errWriterClosed is the answer to who writes after Close.
var errWriterClosed = errors.New("the store is closed")

// Write writes c and calls applied, if not nil, when c is on the disk. It returns when applied has. applied is called
// in the order of what was written, so in that of the events' numbers; the next transaction waits for it, so it must
// not wait for anything itself.
//
// A change that can't be written fails alone: those that were to be written with it are then tried one by one.
func (w *Writer) Write(c *Change, applied func()) error {
	x := &write{c: c, applied: applied, done: make(chan struct{})}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return errWriterClosed
	}
	w.queue = append(w.queue, x)
	if !w.writing { // it ends by itself when nothing is queued, and Close waits for it
		w.writing = true
		w.wg.Go(w.work)
	}
	w.mu.Unlock()
	<-x.done
	if x.panic != nil {
		panic(x.panic) // where its caller guards against it
	}
	return x.err
}

// Queued counts the changes that wait for the next transaction.
func (w *Writer) Queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)
}

// Close waits until what is queued is written. Nothing can be written after it.
func (w *Writer) Close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wg.Wait()
}

// work writes until nothing is queued.
func (w *Writer) work() {
	for {
		w.mu.Lock()
		batch := w.queue
		w.queue = nil
		if len(batch) == 0 {
			w.writing = false
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		w.writeAll(batch)
	}
}

func (w *Writer) writeAll(batch []*write) {
	cs := make([]*Change, len(batch))
	for i, x := range batch {
		cs[i] = x.c
	}
	// Nobody's context counts: what was queued is written.
	err := w.apply(cs...)
	for _, x := range batch {
		if x.err = err; err != nil && len(batch) > 1 {
			x.err = w.apply(x.c)
		}
		x.end()
	}
}

// apply is Store.Apply; a panic in it is an error, as it can't be told whose change is to blame.
func (w *Writer) apply(cs ...*Change) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("writing to the store: a panic: %v", v)
		}
	}()
	return w.store.Apply(context.Background(), cs...)
}

// end tells the one who waits for x.
func (x *write) end() {
	defer close(x.done)
	defer func() { x.panic = recover() }()
	if x.err == nil && x.applied != nil {
		x.applied()
	}
}
