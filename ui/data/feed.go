package data

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"berth/backend/api"
	"berth/backend/base/coalesce"
)

// Watcher streams the fleet; *api.WorkspaceClient is one.
type Watcher interface {
	Watch(ctx context.Context, each func(api.Change) error) error
}

const (
	interval        = 100 * time.Millisecond // between two deltas
	blurredInterval = time.Second            // while the terminal is not looked at
	maxBackoff      = 5 * time.Second
	maxPending      = 2000 // events held for the next delta
)

// Feed follows a workspace and hands on what changed.
type Feed struct {
	ws      Watcher
	send    func(Delta)
	blurred atomic.Bool

	mu      sync.Mutex
	pending Delta // but for what is in the queues
	changed coalesce.Queue[string, *api.Instance]
	ops     coalesce.Queue[string, *api.Operation] // by instance
	dirty   bool
	known   map[string]struct{} // what has been handed on, to find what went while the line was down
	seen    map[string]struct{} // what the snapshot under way has brought; nil: it is complete
	wake    coalesce.Signal     // something is pending
	look    coalesce.Signal     // the pace has changed
}

// NewFeed makes a feed that gives deltas to send, which may block.
func NewFeed(ws Watcher, send func(Delta)) *Feed {
	return &Feed{ws: ws, send: send, known: map[string]struct{}{}, wake: coalesce.NewSignal(), look: coalesce.NewSignal()}
}

// SetBlurred slows the feed down while nobody looks.
func (f *Feed) SetBlurred(b bool) {
	f.blurred.Store(b)
	f.look.Send()
}

// Run follows the workspace until ctx ends. A daemon that goes is called again, with back-off.
func (f *Feed) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		f.deliver(ctx)
	}()
	defer wg.Wait()
	keepUp(ctx, maxBackoff, func() (up bool, err error) {
		f.begin()
		err = f.ws.Watch(ctx, func(c api.Change) error {
			up = true
			f.Add(c)
			return ctx.Err()
		})
		if err == nil {
			err = errors.New("the service ended the stream")
		}
		return up, err
	}, f.down)
}

func (f *Feed) begin() {
	f.mu.Lock()
	f.seen = make(map[string]struct{}, len(f.known))
	f.mu.Unlock()
}

func (f *Feed) down(err error) {
	f.mu.Lock()
	f.pending.Connected, f.pending.Err, f.dirty = false, err, true
	f.mu.Unlock()
	f.wake.Send()
}

// Add takes one change in, for the next delta.
func (f *Feed) Add(c api.Change) {
	f.mu.Lock()
	f.dirty, f.pending.Connected, f.pending.Err = true, true, nil
	for i := range c.Snapshot {
		f.put(&c.Snapshot[i])
	}
	if c.Instance != nil {
		f.put(c.Instance)
	}
	if c.Removed != "" {
		f.drop(c.Removed)
	}
	if c.Complete {
		for id := range f.known {
			if _, ok := f.seen[id]; !ok && f.seen != nil {
				f.drop(id)
			}
		}
		f.seen = nil
		f.pending.Complete = true
	}
	if c.Event != nil {
		if len(f.pending.Events) >= maxPending {
			f.pending.Events = append(f.pending.Events[:0], f.pending.Events[maxPending/2:]...)
		}
		f.pending.Events = append(f.pending.Events, *c.Event)
	}
	if op := c.Operation; op != nil {
		f.ops.Put(op.InstanceID, op)
	}
	f.mu.Unlock()
	f.wake.Send()
}

func (f *Feed) put(in *api.Instance) {
	f.known[in.ID] = struct{}{}
	if f.seen != nil {
		f.seen[in.ID] = struct{}{}
	}
	f.changed.Put(in.ID, in)
}

func (f *Feed) drop(id string) {
	delete(f.known, id)
	f.changed.Drop(id)
	f.pending.Removed = append(f.pending.Removed, id)
}

// Take returns what is pending, and whether there is anything.
func (f *Feed) Take() (Delta, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.dirty {
		return Delta{}, false
	}
	d := f.pending
	d.Changed, d.Operations = f.changed.Take(), f.ops.Take()
	f.pending = Delta{Connected: d.Connected, Err: d.Err}
	f.dirty = false
	return d, true
}

// deliver hands deltas on: the first at once, the next ones an interval apart.
func (f *Feed) deliver(ctx context.Context) {
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		}
		for {
			every := interval
			if f.blurred.Load() {
				every = blurredInterval
			}
			wait := time.Until(last.Add(every))
			if wait <= 0 {
				break
			}
			t := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-f.look:
				t.Stop()
			case <-t.C:
			}
		}
		if d, ok := f.Take(); ok {
			f.send(d)
			last = time.Now()
		}
	}
}
