package workspace

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

// accountFresh is how long it is believed to which account an environment signs in: its files may say another since.
// What decides where something is made, changed or missed is asked anew.
const accountFresh = time.Minute

// accounts know to which account of each backend an environment signs in, and with which selectors each account was
// called last. Where a provider has no accounts, all are the account "".
type accounts struct {
	w *Workspace

	mu       sync.Mutex // guards what follows; no provider is called while it is held
	signIns  map[signIn]signedIn
	calls    map[accountKey]lastCall
	arrived  map[[sha256.Size]byte]arrivedCall // calls of which some account is not known yet, by environment
	watching map[*backend.Caller]bool          // calls under way that look at the fleet
	saver    saver
}

// accountKey is an account of a backend.
type accountKey struct{ backend, account string }

// signIn is an environment at a backend.
type signIn struct {
	backend string
	env     [sha256.Size]byte
}

// signedIn is what came of it.
type signedIn struct {
	account string
	err     error
	at      time.Time
}

// lastCall is what may be kept of the environment of the last call under an account.
type lastCall struct {
	Selectors map[string]string `json:"selectors"`
	Withheld  []string          `json:"withheld,omitempty"` // names of what it had and is not kept
}

type arrivedCall struct {
	lastCall
	at time.Time
}

func newAccounts(w *Workspace) *accounts {
	return &accounts{w: w, signIns: map[signIn]signedIn{}, calls: map[accountKey]lastCall{},
		arrived:  map[[sha256.Size]byte]arrivedCall{},
		watching: map[*backend.Caller]bool{}}
}

// of returns the account that ctx's environment signs in to, or did a moment ago.
func (a *accounts) of(ctx context.Context, name string) (string, error) {
	key := signIn{name, backend.Fingerprint(backend.CallerFrom(ctx).Env)}
	a.mu.Lock()
	was, known := a.signIns[key]
	a.mu.Unlock()
	if known && was.err == nil && a.w.now().Sub(was.at) < accountFresh {
		return was.account, nil
	}
	return a.ask(ctx, name)
}

// ask returns the account that ctx's environment signs in to now.
func (a *accounts) ask(ctx context.Context, name string) (string, error) {
	b, ok := a.w.opts.Backends[name].(backend.Accounter)
	if !ok {
		return "", nil
	}
	key := signIn{name, backend.Fingerprint(backend.CallerFrom(ctx).Env)}
	account, err := within(ctx, a.w, "backend "+name, b.Account)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.signIns, func(_ signIn, s signedIn) bool { return a.w.now().Sub(s.at) > accountFresh })
	a.signIns[key] = signedIn{account, err, a.w.now()}
	if call, ok := a.arrived[key.env]; ok && err == nil {
		a.remember(accountKey{name, account}, call.lastCall)
	}
	return account, err
}

// tried reports whether it was asked lately to which account ctx's environment signs in, or need not be.
func (a *accounts) tried(ctx context.Context, name string) bool {
	_, ok := a.w.opts.Backends[name].(backend.Accounter)
	c := backend.CallerFrom(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	s, known := a.signIns[signIn{name, backend.Fingerprint(c.Env)}]
	return !ok || len(c.Env) == 0 || known && a.w.now().Sub(s.at) < accountFresh
}

// check refuses an operation of a kind on an instance, or to ask ("") for what its provider keeps of it, unless ctx's
// environment signs in to the account that it was made in. It changes nothing.
func (a *accounts) check(ctx context.Context, rec *store.Instance, kind string) error {
	account, err := a.same(ctx, rec)
	if err == nil && rec.Account == "" && account != "" && rec.ProviderID != "" {
		// An older build made it. In this account it is, if it is found there. One that is found nowhere can be forgotten:
		// where it is there after all, it is found by a list and taken in again.
		_, err := within(ctx, a.w, "looking at "+rec.Name, func(ctx context.Context) (backend.Machine, error) {
			return a.w.opts.Backends[rec.Backend].Get(ctx, ref(rec))
		})
		switch {
		case errors.Is(err, backend.ErrNotFound) && kind == opDelete:
			return nil
		case errors.Is(err, backend.ErrNotFound):
			return a.foreign(rec, account)
		}
		return err
	}
	return err
}

// same refuses what would be done in another account than the instance's. It returns the one that ctx's environment
// signs in to now.
func (a *accounts) same(ctx context.Context, rec *store.Instance) (account string, err error) {
	account, err = a.ask(ctx, rec.Backend)
	if err == nil && rec.Account != "" && account != "" && account != rec.Account {
		return account, a.foreign(rec, account)
	}
	return account, err
}

// foreignError says that an instance is another account's.
type foreignError struct{ error }

// Unwrap makes it an api.Error.
func (e foreignError) Unwrap() error { return e.error }

// foreign is the error for an instance of another account.
func (a *accounts) foreign(rec *store.Instance, account string) error {
	made := "was made in the account " + rec.Account
	if rec.Account == "" {
		made = "was made in an account that is not known"
	}
	e := api.Errorf(api.CodeForbidden, "%s %s of backend %s, and your environment signs in to %s: nothing was done",
		rec.Name, made, rec.Backend, account)
	return foreignError{e.WithHint("%s", a.how(rec))}
}

// how says how to sign in to the account of an instance.
func (a *accounts) how(rec *store.Instance) string {
	a.mu.Lock()
	last := a.calls[accountKey{rec.Backend, rec.Account}]
	a.mu.Unlock()
	var set []string
	for _, k := range slices.Sorted(maps.Keys(last.Selectors)) {
		if backend.OfProvider(k) {
			set = append(set, k+"="+last.Selectors[k])
		}
	}
	if len(set) > 0 {
		return "it was last called with " + strings.Join(set, " ")
	}
	return "set " + orElse(a.w.opts.Backends[rec.Backend].Info().AccountVariable, "your environment") + " for its account"
}

// missing is the error of a provider that does not know an instance's machine: what another account does not see may
// well be there.
func (a *accounts) missing(ctx context.Context, rec *store.Instance, err error) error {
	if !errors.Is(err, backend.ErrNotFound) {
		return err
	}
	account, aerr := a.ask(ctx, rec.Backend)
	switch {
	case aerr != nil:
		return aerr
	case rec.Account != "" && account != rec.Account:
		return a.foreign(rec, account)
	}
	return err
}

// called takes note of a call, whose selectors are those of its accounts from now on.
func (a *accounts) called(c *backend.Caller) {
	if len(c.Env) == 0 {
		return
	}
	print, call := backend.Fingerprint(c.Env), lastCall{backend.Selectors(c.Env), backend.Withheld(c.Env)}
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.arrived, func(_ [sha256.Size]byte, c arrivedCall) bool { return a.w.now().Sub(c.at) > accountFresh })
	for name, b := range a.w.opts.Backends {
		s, known := a.signIns[signIn{name, print}]
		if _, ok := b.(backend.Accounter); !ok {
			a.remember(accountKey{name, ""}, call)
		} else if known && s.err == nil {
			a.remember(accountKey{name, s.account}, call)
		} else {
			a.arrived[print] = arrivedCall{call, a.w.now()}
		}
	}
}

// remember keeps the selectors of a call under an account. a.mu must be held.
func (a *accounts) remember(key accountKey, now lastCall) {
	was, known := a.calls[key]
	if known && maps.Equal(was.Selectors, now.Selectors) && slices.Equal(was.Withheld, now.Withheld) {
		return
	}
	a.calls[key] = now
	a.saver.later(a, !known)
}

// environment is what is done with what nobody asked for, under an account: the selectors of the last call.
func (a *accounts) environment(name, account string) map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.calls[accountKey{name, account}]; ok {
		return c.Selectors
	}
	return backend.Selectors(a.w.opts.Env)
}

// lacks reports whether an error says nothing of an account, but only that it was asked for by one who can't sign in,
// or not without a secret that is not kept.
func (a *accounts) lacks(ctx context.Context, name, account string, err error) bool {
	_, has := a.w.opts.Backends[name].(backend.Accounter)
	switch {
	case !has || err == nil || api.AsError(err).Code != api.CodeAuth:
		return false
	case backend.CallerFrom(ctx).Principal.Kind != backend.PrincipalSystem:
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	last, known := a.calls[accountKey{name, account}]
	return len(last.Withheld) > 0 || !known && account != ""
}

// watch takes note of a call that looks at the fleet until done is called: meanwhile it is looked with its environment.
func (a *accounts) watch(c *backend.Caller) (done func()) {
	c = &backend.Caller{Principal: c.Principal, Env: c.Env}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(c.Env) > 0 {
		a.watching[c] = true
	}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.watching, c)
	}
}

// view is how a backend's machines are looked at: as whom, and which account is thought to be seen so.
type view struct {
	caller  *backend.Caller
	account string
	known   bool // the account is
}

// views are all ways to look at a backend's machines: one for each account.
func (a *accounts) views(name string) (out []view) {
	_, has := a.w.opts.Backends[name].(backend.Accounter)
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := map[string]bool{}
	for c := range a.watching {
		s, known := a.signIns[signIn{name, backend.Fingerprint(c.Env)}]
		switch {
		case known && s.err != nil && a.w.now().Sub(s.at) < accountFresh, seen[s.account] && known, !has:
			continue
		case known && s.err == nil:
			seen[s.account] = true
		}
		out = append(out, view{c, s.account, known && s.err == nil})
	}
	for key, c := range a.calls {
		if key.backend == name && !seen[key.account] {
			seen[key.account] = true
			out = append(out, view{&backend.Caller{Principal: backend.System, Env: c.Selectors}, key.account, true})
		}
	}
	if len(out) == 0 {
		env := backend.Selectors(a.w.opts.Env)
		out = append(out, view{&backend.Caller{Principal: backend.System, Env: env}, "", true})
	}
	return out
}

// moved forgets how an account was called: these selectors sign in to another by now.
func (a *accounts) moved(name string, v view) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := accountKey{name, v.account}
	if maps.Equal(a.calls[key].Selectors, v.caller.Env) {
		delete(a.calls, key)
	}
}
