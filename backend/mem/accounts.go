package mem

import (
	"context"
	"fmt"
	"slices"

	"berth/backend"
	"berth/backend/api"
)

// Account is one of a provider's accounts.
type Account struct {
	ID  string
	Key string // the AWS_SECRET_ACCESS_KEY that it wants; empty: none
	Me  string // who one is there; empty: as Backend.Me
}

// Account implements backend.Accounter; it is "" where there are no accounts.
func (b *Backend) Account(ctx context.Context) (id string, err error) {
	if b.Accounts == nil {
		return "", nil
	}
	err = b.do(ctx, "Account", func() error {
		id, err = b.signIn(ctx)
		return err
	})
	return id, err
}

// signIn is the account of ctx's caller.
func (b *Backend) signIn(ctx context.Context) (string, error) {
	if b.Accounts == nil {
		return "", nil
	}
	c := backend.CallerFrom(ctx)
	b.moves.Lock()
	a, ok := b.Accounts[c.Getenv("AWS_PROFILE")]
	b.moves.Unlock()
	if !ok || a.Key != "" && c.Getenv("AWS_SECRET_ACCESS_KEY") != a.Key {
		return "", api.Errorf(api.CodeAuth, "the profile %q signs in to no account", c.Getenv("AWS_PROFILE")).
			WithHint("set AWS_PROFILE and AWS_SECRET_ACCESS_KEY")
	}
	return a.ID, nil
}

// meFor is who the caller of ctx is.
func (b *Backend) meFor(ctx context.Context) string {
	b.moves.Lock()
	defer b.moves.Unlock()
	if a := b.Accounts[backend.CallerFrom(ctx).Getenv("AWS_PROFILE")]; a.Me != "" {
		return a.Me
	}
	return b.me()
}

// sees reports whether the caller of ctx has the account of a machine.
func (b *Backend) sees(ctx context.Context, m *machine) bool {
	account, _ := b.signIn(ctx)
	return account == m.account
}

// note takes note of a call that would change another account's machine. b.mu must be held.
func (b *Backend) note(ctx context.Context, method string, ref backend.Ref) {
	if b.Accounts == nil || method == "Snapshots" { // it changes nothing
		return
	}
	for id, m := range b.machines {
		if (id == ref.ID || m.m.Token == ref.Token && ref.Token != "") && !b.sees(ctx, m) {
			account, _ := b.signIn(ctx)
			b.foreign = append(b.foreign, fmt.Sprintf("%s of %s of the account %s under %s", method, id, m.account, account))
		}
	}
}

// Violations are the calls so far that would have changed a machine of another account.
func Violations(b *Backend) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.foreign)
}

// AccountOf is the account of a machine, and whether there is one.
func AccountOf(b *Backend, id string) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance()
	m, ok := b.machines[id]
	if !ok {
		return "", false
	}
	return m.account, true
}

// Move makes a profile sign in to another account.
func Move(b *Backend, profile string, a Account) {
	b.moves.Lock()
	defer b.moves.Unlock()
	b.Accounts[profile] = a
}
