package operation

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

// caller is a call by a principal with an environment.
func caller(id string, env map[string]string) *backend.Caller {
	return &backend.Caller{Principal: backend.Principal{ID: id, Name: "me"}, Env: env}
}

// TestParked has an operation whose credentials no daemon keeps resumed, and parked, until a call has them. Its step
// takes longer than it may, and that time does not run.
func TestParked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	own := map[string]string{"AWS_PROFILE": "a", "AWS_SECRET_ACCESS_KEY": "key", "PATH": "/bin", "SSH_AUTH_SOCK": "/1"}
	seen := make(chan map[string]string, 10)
	do := func(ctx context.Context, r *Run) error {
		env := backend.CallerFrom(ctx).Env
		seen <- env
		switch {
		case !r.Resumed: // the daemon ends here
			<-ctx.Done()
			return ctx.Err()
		case env["AWS_SECRET_ACCESS_KEY"] != "key":
			return Parked{"needs the key"}
		}
		return nil
	}
	plans := map[string]Plan{"make": {Steps: []Step{
		{Name: "a", Title: "asking", Limit: time.Minute, Do: do}, {Name: "b", Title: "looking", Limit: time.Minute, Do: do}}},
		"delete": {EndsAll: true}}
	s := open(t, path, plans)
	for _, id := range []string{"op-1", "op-2"} {
		ctx := backend.WithCaller(t.Context(), caller("local:1", own))
		_, err := s.Begin(ctx, store.Operation{Operation: api.Operation{ID: id, Kind: "make", InstanceID: id}},
			func(_ *Run, c store.Change, shown func()) error { return s.writer.Write(&c, shown) })
		require.NoError(t, err)
		require.Equal(t, own, <-seen, "a call uses its own")
	}
	plans["make"].Steps[0].Limit = time.Millisecond
	for range 2 { // the daemon after the next one does not say it again
		s.close()
		s = open(t, path, plans)
		ops, err := s.db.Unfinished(t.Context())
		require.NoError(t, err)
		s.Resume(t.Context(), ops, map[string]string{"AWS_PROFILE": "of nobody"})
		for range ops {
			require.Equal(t, map[string]string{"AWS_PROFILE": "a", "PATH": "/bin", "SSH_AUTH_SOCK": "/1"}, <-seen)
		}
		require.Eventually(t, func() bool {
			said := 0
			for _, op := range s.List() {
				if op.Steps[0].Message == "needs the key" && op.State == api.OpRunning {
					said++
				}
			}
			return said == 2 && s.Parked() == 2
		}, time.Minute, time.Millisecond)
	}
	for _, c := range []*backend.Caller{
		caller("local:2", own), // somebody else
		caller("local:1", map[string]string{"AWS_PROFILE": "b", "AWS_SECRET_ACCESS_KEY": "key"}), // another account
		caller("local:1", map[string]string{"AWS_PROFILE": "a"}),                                 // without it
	} {
		s.Offer(c)
		require.Equal(t, 2, s.Parked())
	}
	s.Offer(caller("local:1", map[string]string{"AWS_PROFILE": "a", "AWS_SECRET_ACCESS_KEY": "an old key"}))
	for range 2 {
		require.Equal(t, "an old key", (<-seen)["AWS_SECRET_ACCESS_KEY"])
	}
	require.Eventually(t, func() bool { return s.Parked() == 2 }, time.Minute, time.Millisecond, "it did not help")
	require.NoError(t, s.Get("op-2").GiveUp(t.Context(), "delete"))
	require.Equal(t, api.OpCancelled, s.ended("op-2").State)
	now := map[string]string{"AWS_PROFILE": "a", "AWS_SECRET_ACCESS_KEY": "key", "SSH_AUTH_SOCK": "/2"}
	s.Offer(caller("local:1", now))
	op := s.ended("op-1")
	require.Equal(t, api.OpSucceeded, op.State, op.Error)
	require.Empty(t, op.Steps[0].Message)
	require.Equal(t, []map[string]string{now, now}, []map[string]string{<-seen, <-seen}, "the steps after it as well")
	require.Zero(t, s.Parked())

	evs, err := s.db.Events(t.Context(), store.EventQuery{Limit: 100})
	require.NoError(t, err)
	said := map[string]int{}
	for _, ev := range evs {
		if ev.Kind == "operation.parked" {
			said[ev.OperationID]++
		}
	}
	require.Equal(t, map[string]int{"op-1": 1, "op-2": 1}, said)
}

// TestParkedOffersWithout: a call without an environment, such as curl's, has nothing to offer. What it would go on
// with lacks the proxy and the agent that the operation was asked with.
func TestParkedOffersWithout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	own := map[string]string{"PATH": "/bin", "HTTPS_PROXY": "http://proxy:3128", "SSH_AUTH_SOCK": "/1"}
	seen := make(chan map[string]string, 10)
	do := func(ctx context.Context, r *Run) error {
		env := backend.CallerFrom(ctx).Env
		seen <- env
		switch {
		case !r.Resumed:
			<-ctx.Done()
			return ctx.Err()
		case env["SSH_AUTH_SOCK"] != "/2":
			return Parked{"needs a sign-in"}
		}
		return nil
	}
	plans := map[string]Plan{"make": {Steps: []Step{{Name: "a", Title: "asking", Limit: time.Minute, Do: do}}}}
	s := open(t, path, plans)
	_, err := s.Begin(backend.WithCaller(t.Context(), caller("local:1", own)),
		store.Operation{Operation: api.Operation{ID: "op-1", Kind: "make", InstanceID: "op-1"}},
		func(_ *Run, c store.Change, shown func()) error { return s.writer.Write(&c, shown) })
	require.NoError(t, err)
	<-seen
	s.close()
	s = open(t, path, plans)
	ops, err := s.db.Unfinished(t.Context())
	require.NoError(t, err)
	s.Resume(t.Context(), ops, nil)
	require.Equal(t, own, <-seen)
	require.Eventually(t, func() bool { return s.Parked() == 1 }, time.Minute, time.Millisecond)
	s.Offer(caller("local:1", nil))
	require.Equal(t, 1, s.Parked())
	own["SSH_AUTH_SOCK"] = "/2"
	s.Offer(caller("local:1", own))
	require.Equal(t, own, <-seen)
	require.Equal(t, api.OpSucceeded, s.ended("op-1").State)
}

// TestParkedWithoutSelectors: an operation of an older build, or of a call without an environment, names no account: it
// goes on with what any call has, and is parked again where that does not help.
func TestParkedWithoutSelectors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	do := func(ctx context.Context, r *Run) error {
		switch {
		case !r.Resumed:
			<-ctx.Done()
			return ctx.Err()
		case backend.CallerFrom(ctx).Env["AWS_PROFILE"] != "a":
			return Parked{"needs a sign-in"}
		}
		return nil
	}
	plans := map[string]Plan{"make": {Steps: []Step{{Name: "a", Title: "asking", Limit: time.Minute, Do: do}}}}
	s := open(t, path, plans)
	_, err := s.Begin(backend.WithCaller(t.Context(), caller("local:1", nil)),
		store.Operation{Operation: api.Operation{ID: "op-1", Kind: "make", InstanceID: "op-1"}},
		func(_ *Run, c store.Change, shown func()) error { return s.writer.Write(&c, shown) })
	require.NoError(t, err)
	s.close()
	s = open(t, path, plans)
	ops, err := s.db.Unfinished(t.Context())
	require.NoError(t, err)
	s.Resume(t.Context(), ops, nil)
	parked := func() bool { return s.Parked() == 1 }
	require.Eventually(t, parked, time.Minute, time.Millisecond)
	s.Offer(caller("local:1", map[string]string{"AWS_PROFILE": "b"}))
	require.Eventually(t, parked, time.Minute, time.Millisecond, "it did not help")
	s.Offer(caller("local:1", map[string]string{"AWS_PROFILE": "a"}))
	require.Equal(t, api.OpSucceeded, s.ended("op-1").State)
}
