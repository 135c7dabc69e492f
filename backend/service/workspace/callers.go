package workspace

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/service/store"
)

// Called takes note of a call: what nobody asks for is done, from now on, with its selectors, and operations that
// waited for what it has go on.
func (w *Workspace) Called(ctx context.Context) {
	c := backend.CallerFrom(ctx)
	w.accounts.called(c)
	w.operations.Offer(c)
}

// background returns ctx for work that nobody asked for: nobody is there to answer a question.
func (w *Workspace) background(ctx context.Context) context.Context {
	return backend.WithCaller(ctx, &backend.Caller{Principal: backend.System})
}

// inPlaceOf returns ctx for work at a backend under an account: a call's own environment, or, for what nobody asked
// for, the selectors of the last call under the account.
func (w *Workspace) inPlaceOf(ctx context.Context, name, account string) context.Context {
	c := *backend.CallerFrom(ctx)
	if len(c.Env) > 0 {
		return ctx
	}
	c.Env = w.accounts.environment(name, account)
	if c.Principal == (backend.Principal{}) {
		c.Principal = backend.System
	}
	return backend.WithCaller(ctx, &c)
}

// unasked returns ctx without anybody to ask.
func unasked(ctx context.Context) context.Context {
	c := *backend.CallerFrom(ctx)
	c.Ask = nil
	return backend.WithCaller(ctx, &c)
}

// callsKey is the setting with the selectors of the last call under each account, by backend and account.
const callsKey = "calls"

// saveEvery is how often the selectors of calls are written at most: what a killed daemon had not written, the next
// call says again.
const saveEvery = time.Minute

// saver writes the selectors of calls, for the next daemon. Its fields are guarded by accounts.mu.
type saver struct {
	wg     sync.WaitGroup
	last   time.Time
	dirty  bool
	closed bool
}

// later has the calls written, soon if they were not for a while, or at the end. accounts.mu must be held.
func (s *saver) later(a *accounts, soon bool) {
	s.dirty = true
	if s.closed || !soon && time.Since(s.last) < saveEvery {
		return
	}
	s.last = time.Now()
	s.wg.Go(a.save)
}

// save writes the calls.
func (a *accounts) save() {
	calls := map[string]map[string]lastCall{}
	a.mu.Lock()
	for key, c := range a.calls {
		if calls[key.backend] == nil {
			calls[key.backend] = map[string]lastCall{}
		}
		calls[key.backend][key.account] = c
	}
	dirty := a.saver.dirty
	a.saver.dirty = false
	a.mu.Unlock()
	if !dirty {
		return
	}
	doc, _ := json.Marshal(calls) // texts only: it can't fail
	if err := a.w.commit(&store.Change{Settings: map[string]string{callsKey: string(doc)}}, nil); err != nil {
		a.w.log.Warn("writing how accounts are called", "error", err)
		a.mu.Lock()
		a.saver.dirty = true
		a.mu.Unlock()
	}
}

// load reads what an earlier daemon has written.
func (a *accounts) load(ctx context.Context) error {
	doc, err := a.w.opts.Store.Setting(ctx, callsKey)
	if err != nil || doc == "" {
		return err
	}
	calls := map[string]map[string]lastCall{}
	if err := json.Unmarshal([]byte(doc), &calls); err != nil { // another build's
		a.w.log.Warn("reading how accounts are called", "error", err)
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, of := range calls {
		for account, c := range of {
			a.calls[accountKey{name, account}] = c
		}
	}
	return nil
}

// close writes what is not written yet. The store must still be open.
func (a *accounts) close() {
	a.mu.Lock()
	a.saver.closed = true
	a.mu.Unlock()
	a.saver.wg.Wait()
	a.save()
}
