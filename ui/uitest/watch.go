package uitest

import (
	"context"
	"sync"

	"berth/backend/api"
	"berth/backend/base/coalesce"
	"berth/backend/service/store"
	"berth/backend/service/workspace"
)

// feed is what the watchers of a workspace are told: its changes, and what is fed by hand.
type feed struct {
	sub *workspace.Subscription

	mu      sync.Mutex
	events  []api.Change
	figures []api.FleetFigures // only the driver takes these
	wake    coalesce.Signal
}

// subscribe begins a feed; close it.
func (w *Workspace) subscribe() (*feed, []api.Instance) {
	f := &feed{wake: coalesce.NewSignal()}
	w.mu.Lock()
	w.feeds[f] = struct{}{}
	w.mu.Unlock()
	sub, list := w.real.Subscribe()
	f.sub = sub
	return f, list
}

func (w *Workspace) unsubscribe(f *feed) {
	f.sub.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.feeds, f)
}

// each calls do for every feed.
func (w *Workspace) each(do func(f *feed)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for f := range w.feeds {
		do(f)
	}
}

// take returns what has come, without waiting for more.
func (f *feed) take() (changes []api.Change, figures []api.FleetFigures) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	changes = f.sub.Next(now)
	f.mu.Lock()
	defer f.mu.Unlock()
	changes = append(changes, f.events...)
	figures = f.figures
	f.events, f.figures = nil, nil
	return changes, figures
}

// Cut ends every watch stream, as a daemon that goes.
func (w *Workspace) Cut() {
	w.each(func(f *feed) { f.sub.Close() })
}

// Emit records an event, as another part of the daemon does.
func (w *Workspace) Emit(e api.Event) {
	if e.Time.IsZero() {
		e.Time = w.clock()
	}
	if err := w.store.Apply(context.Background(), &store.Change{Events: []*api.Event{&e}}); err != nil {
		panic(err)
	}
	w.each(func(f *feed) {
		f.mu.Lock()
		f.events = append(f.events, api.Change{Event: &e})
		f.mu.Unlock()
		f.wake.Send()
	})
}

// batch is how many instances a line of the snapshot carries.
const batch = 250

// Watch implements screen.Workspace, as the daemon's stream does.
func (w *Workspace) Watch(ctx context.Context, each func(api.Change) error) error {
	if w.WatchErr != nil {
		if err := w.WatchErr(); err != nil {
			return err
		}
	}
	f, list := w.subscribe()
	defer w.unsubscribe(f)
	for first := true; first || len(list) > 0; first = false {
		n := min(len(list), batch)
		if err := each(api.Change{Snapshot: list[:n], Complete: n == len(list)}); err != nil {
			return err
		}
		list = list[n:]
	}
	ctx, cancel := context.WithCancel(ctx)
	changes := make(chan []api.Change)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		defer close(changes)
		for cs := f.sub.Next(ctx); cs != nil; cs = f.sub.Next(ctx) {
			select {
			case changes <- cs:
			case <-ctx.Done():
				return
			}
		}
	})
	for {
		var cs []api.Change
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.wake:
			f.mu.Lock()
			cs, f.events = f.events, nil
			f.mu.Unlock()
		case more, ok := <-changes:
			if !ok {
				return ctx.Err() // nil where it was cut
			}
			cs = more
		}
		for _, c := range cs {
			if err := each(c); err != nil {
				return err
			}
		}
	}
}
