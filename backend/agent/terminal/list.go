package terminal

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"

	"berth/backend/agent/shim"
	"berth/backend/api"
)

// records lists the living terminals, oldest first.
func (ts *terminals) records() []shim.Record {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	out := make([]shim.Record, 0, len(ts.live))
	for _, t := range ts.live {
		out = append(out, t.rec)
	}
	slices.SortFunc(out, func(x, y shim.Record) int {
		return cmp.Or(x.StartedAt.Compare(y.StartedAt), cmp.Compare(len(x.ID), len(y.ID)), cmp.Compare(x.ID, y.ID))
	})
	return out
}

// ask asks all shims for their state, a few at a time. One that does not answer is left out.
func (ts *terminals) ask(ctx context.Context, recs []shim.Record) map[string]shim.Info {
	out := make(map[string]shim.Info, len(recs))
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, askAtOnce)
	for _, rec := range recs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			c, err := shim.Dial(ctx, rec, shim.Request{Op: "info"})
			if err != nil {
				return
			}
			_ = c.Close()
			mu.Lock()
			out[rec.ID] = c.Info
			mu.Unlock()
		})
	}
	wg.Wait()
	return out
}

func (ts *terminals) list(ctx context.Context, home string) []api.Terminal {
	recs := ts.records()
	infos := ts.ask(ctx, recs)
	out := make([]api.Terminal, 0, len(recs))
	for _, r := range recs {
		i := infos[r.ID]
		out = append(out, api.Terminal{ID: r.ID, PID: r.Child.PID, Command: r.Command, StartedAt: r.StartedAt,
			LastActivity: i.LastActivity, Attached: i.Attached, Rows: i.Rows, Cols: i.Cols, Own: ts.homeOf(r.ID) == home})
	}
	return out
}

// find returns a living terminal, or an error that says how it ended.
func (ts *terminals) find(id string) (*terminal, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.live[id]; t != nil {
		return t, nil
	}
	for _, e := range ts.ended {
		if e.id == id {
			return nil, api.Errorf(api.CodeNotFound, "%s", e.how)
		}
	}
	return nil, api.Errorf(api.CodeNotFound, "there is no terminal %.40q on this instance", id)
}

// kill ends a terminal and returns once it has ended.
func (ts *terminals) kill(ctx context.Context, id string, grace time.Duration) error {
	t, err := ts.find(id)
	if err != nil {
		return err
	}
	c, err := shim.Dial(ctx, t.rec, shim.Request{Op: "kill", GraceSeconds: grace.Seconds()})
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		_, err = c.WaitExit()
		stop()
		_ = c.Close()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && t.rec.Shim.Alive() {
		// The shim does not do it (stopped, say): by force, from here.
		_, _ = t.rec.Set().End(ctx, grace, nil)
		_ = t.rec.Shim.Signal(syscall.SIGKILL)
	}
	select {
	case <-t.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (ts *terminals) killAll(ctx context.Context, grace time.Duration) error {
	var ids []string
	for _, r := range ts.records() {
		ids = append(ids, r.ID)
	}
	return ts.killThese(ctx, ids, grace)
}

func (ts *terminals) killThese(ctx context.Context, ids []string, grace time.Duration) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, id := range ids {
		wg.Go(func() {
			err := ts.kill(ctx, id, grace)
			if err != nil && !errors.Is(err, &api.Error{Code: api.CodeNotFound}) {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
