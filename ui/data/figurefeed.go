package data

import (
	"context"
	"errors"
	"sync"
	"time"

	"berth/backend/api"
	"berth/backend/base/coalesce"
)

// FigureWatcher streams the fleet's figures; *api.WorkspaceClient is one.
type FigureWatcher interface {
	WatchFleet(ctx context.Context, every time.Duration, each func(api.FleetFigures) error) error
}

const (
	figurePace        = time.Second            // how often an instance is measured while somebody looks
	blurredFigurePace = 15 * time.Second       // and while nobody does
	figureInterval    = 250 * time.Millisecond // between two deltas
	maxFigureBackoff  = 30 * time.Second       // a daemon of an older release has no figures at all
)

// FigureFeed follows the fleet's figures: at full pace while the dashboard is looked at, slowly otherwise.
type FigureFeed struct {
	ws   FigureWatcher
	send func(FigureDelta)
	now  func() time.Time

	mu      sync.Mutex
	blurred bool
	again   context.CancelFunc // ends the stream under way, for another pace
	err     error
	lines   coalesce.Queue[string, FigureLine] // by instance
	dirty   bool
	wake    coalesce.Signal
}

// NewFigureFeed makes a feed that gives deltas to send, which may block. now is the clock of receipts.
func NewFigureFeed(ws FigureWatcher, send func(FigureDelta), now func() time.Time) *FigureFeed {
	return &FigureFeed{ws: ws, send: send, now: now, wake: coalesce.NewSignal()}
}

// SetBlurred slows the feed down while nobody looks.
func (f *FigureFeed) SetBlurred(b bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.blurred != b {
		f.blurred = b
		if f.again != nil {
			f.again()
		}
	}
}

// Run follows the workspace until ctx ends.
func (f *FigureFeed) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		f.deliver(ctx)
	}()
	defer wg.Wait()
	keepUp(ctx, maxFigureBackoff, func() (up bool, err error) {
		one, cancel := context.WithCancel(ctx)
		defer cancel()
		f.mu.Lock()
		f.again = cancel
		every := figurePace
		if f.blurred {
			every = blurredFigurePace
		}
		f.mu.Unlock()
		err = f.ws.WatchFleet(one, every, func(l api.FleetFigures) error {
			up = true
			f.Add(l)
			return one.Err()
		})
		switch {
		case one.Err() != nil:
			err = errAgain // at another pace
		case err == nil:
			err = errors.New("the service ended the stream of figures")
		}
		return up, err
	}, f.down)
}

func (f *FigureFeed) down(err error) {
	f.mu.Lock()
	f.err, f.dirty = err, true
	f.mu.Unlock()
	f.wake.Send()
}

// Add takes one line in, for the next delta.
func (f *FigureFeed) Add(l api.FleetFigures) {
	n := FigureLine{FleetFigures: l}
	if l.Summary != nil {
		n.Received = f.now()
	}
	f.mu.Lock()
	f.dirty, f.err = true, nil
	if waits := f.lines.Waiting(l.Instance); waits != nil {
		waits.merge(n)
	} else {
		f.lines.Put(l.Instance, n)
	}
	f.mu.Unlock()
	f.wake.Send()
}

// Take returns what is pending, and whether there is anything.
func (f *FigureFeed) Take() (FigureDelta, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.dirty {
		return FigureDelta{}, false
	}
	d := FigureDelta{Err: f.err, Lines: f.lines.Take()}
	f.dirty = false
	return d, true
}

// deliver hands deltas on, an interval apart.
func (f *FigureFeed) deliver(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	<-t.C
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		}
		// What comes right after the first line belongs to the same second: it is waited for.
		t.Reset(figureInterval)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if d, ok := f.Take(); ok {
			f.send(d)
		}
	}
}
