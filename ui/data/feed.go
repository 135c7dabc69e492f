package data

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"berth/backend/api"
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
	pending Delta
	index   map[string]int // id → place in pending.Changed
	opIndex map[string]int // instance id → place in pending.Operations
	dirty   bool
	known   map[string]struct{} // what has been handed on, to find what went while the line was down
	seen    map[string]struct{} // what the snapshot under way has brought; nil: it is complete
	wake    signal              //  something is pending
	look    signal              //  the pace has changed
}

// NewFeed makes a feed that gives deltas to send, which may block.
func NewFeed(ws Watcher, send func(Delta)) *Feed {
	return &Feed{ws: ws, send: send, index: map[string]int{}, opIndex: map[string]int{}, known: map[string]struct{}{}, wake: newSignal(), look: newSignal()}
}

// SetBlurred slows the feed down while nobody looks.
func (f *Feed) SetBlurred(b bool) {
	f.blurred.Store(b)
	f.look.poke()
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
	f.wake.poke()
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
		if i, ok := f.opIndex[op.InstanceID]; ok {
			f.pending.Operations[i] = op
		} else {
			f.opIndex[op.InstanceID] = len(f.pending.Operations)
			f.pending.Operations = append(f.pending.Operations, op)
		}
	}
	f.mu.Unlock()
	f.wake.poke()
}

func (f *Feed) put(in *api.Instance) {
	f.known[in.ID] = struct{}{}
	if f.seen != nil {
		f.seen[in.ID] = struct{}{}
	}
	if i, ok := f.index[in.ID]; ok {
		f.pending.Changed[i] = in
		return
	}
	f.index[in.ID] = len(f.pending.Changed)
	f.pending.Changed = append(f.pending.Changed, in)
}

func (f *Feed) drop(id string) {
	delete(f.known, id)
	if i, ok := f.index[id]; ok {
		// The order within a delta doesn't matter: fill the hole with the last.
		last := len(f.pending.Changed) - 1
		f.pending.Changed[i] = f.pending.Changed[last]
		f.index[f.pending.Changed[i].ID] = i
		f.pending.Changed = f.pending.Changed[:last]
		delete(f.index, id)
	}
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
	f.pending = Delta{Connected: d.Connected, Err: d.Err}
	f.dirty = false
	clear(f.index)
	clear(f.opIndex)
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
