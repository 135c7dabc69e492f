package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

func open(t *testing.T, path string) *SQLite {
	t.Helper()
	s, err := Open(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func instance(id, name string) Instance {
	return Instance{Instance: api.Instance{ID: id, Name: name, Backend: "local", State: api.StateRunning,
		Tags: map[string]string{"k": "v"}}, Token: "tok-" + id}
}

func TestApplyIsAtomicAndReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?#.db") // characters that mean something in a URL
	s := open(t, path)
	ctx := t.Context()
	op := Operation{Operation: api.Operation{ID: "o1", Kind: "create", InstanceID: "i1", State: api.OpRunning,
		CreatedAt: time.Now()}}
	ev := &api.Event{Time: time.Now(), Kind: "operation.step", InstanceID: "i1", Message: "made"}
	require.NoError(t, s.Apply(ctx, &Change{Instances: []Instance{instance("i1", "vision")}, Operations: []Operation{op},
		Events: []*api.Event{ev}, Settings: map[string]string{"home": "h"}}))
	require.EqualValues(t, 1, ev.Seq)

	// A second instance of the same name, in another case, is refused, and nothing of that change is written.
	err := s.Apply(ctx, &Change{Instances: []Instance{instance("i2", "VISION")},
		Settings: map[string]string{"home": "changed"}})
	require.ErrorIs(t, err, &api.Error{Code: api.CodeStore})
	v, err := s.Setting(ctx, "home")
	require.NoError(t, err)
	require.Equal(t, "h", v)

	require.NoError(t, s.Close())
	s = open(t, path)
	got, err := s.Instances(ctx)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, "tok-i1", got[0].Token)
	require.Equal(t, "vision", got[0].Name)
	un, err := s.Unfinished(ctx)
	require.NoError(t, err)
	require.Len(t, un, 1)
	un[0].State = api.OpSucceeded
	require.NoError(t, s.Apply(ctx, &Change{Operations: un, RemoveInstances: []string{"i1"}}))
	un, err = s.Unfinished(ctx)
	require.NoError(t, err)
	require.Empty(t, un)
	_, err = s.Operation(ctx, "nope")
	require.ErrorIs(t, err, &api.Error{Code: api.CodeNotFound})
}

func TestEventsAreSelectedAndTrimmed(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"))
	ctx := t.Context()
	for i := range 20 {
		require.NoError(t, s.Apply(ctx, &Change{Events: []*api.Event{{Time: time.Now(), InstanceID: fmt.Sprint("i", i%2),
			Message: fmt.Sprint(i)}}}))
	}
	ev, err := s.Events(ctx, EventQuery{Limit: 3})
	require.NoError(t, err)
	require.Equal(t, []int64{18, 19, 20}, seqs(ev))
	ev, err = s.Events(ctx, EventQuery{InstanceID: "i1", Since: 14})
	require.NoError(t, err)
	require.Equal(t, []int64{16, 18, 20}, seqs(ev))
	require.NoError(t, s.Trim(ctx, 5, time.Now()))
	ev, err = s.Events(ctx, EventQuery{})
	require.NoError(t, err)
	require.Equal(t, []int64{16, 17, 18, 19, 20}, seqs(ev))
	e := &api.Event{Time: time.Now()}
	require.NoError(t, s.Apply(ctx, &Change{Events: []*api.Event{e}}))
	require.EqualValues(t, 21, e.Seq)
}

func seqs(ev []api.Event) (out []int64) {
	for _, e := range ev {
		out = append(out, e.Seq)
	}
	return out
}

func TestCorruptedStoreIsSaidAndKept(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"not a database": func([]byte) []byte { return []byte(strings.Repeat("garbage ", 4096)) },
		"pages spoiled": func(b []byte) []byte {
			for i := 4096; i < len(b); i++ {
				b[i] = 0xa5
			}
			return b
		},
		"cut": func(b []byte) []byte { return b[:len(b)/2] },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			s := open(t, path)
			for i := range 50 {
				require.NoError(t, s.Apply(t.Context(),
					&Change{Instances: []Instance{instance(fmt.Sprint("i", i), fmt.Sprint("name-", i))}}))
			}
			require.NoError(t, s.Close())
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			b = spoil(b)
			require.NoError(t, os.WriteFile(path, b, 0o600))
			s2, err := Open(t.Context(), path)
			if err == nil {
				defer s2.Close()
				_, err = s2.Instances(t.Context())
			}
			require.Error(t, err)
			e := api.AsError(err)
			require.Equal(t, api.CodeStore, e.Code)
			require.Contains(t, e.Hint, ".broken")
			kept, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Len(t, kept, len(b))
		})
	}
}

func TestCancelledContext(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Apply(ctx, &Change{Instances: []Instance{instance("a", "abc")}})
	require.True(t, errors.Is(err, context.Canceled), err)
}

func BenchmarkApply(b *testing.B) {
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "x.db"))
	require.NoError(b, err)
	defer s.Close()
	for i := 0; b.Loop(); i++ {
		require.NoError(b, s.Apply(b.Context(),
			&Change{Instances: []Instance{instance(fmt.Sprint("i", i), fmt.Sprint("n", i))}}))
	}
}

func BenchmarkLoad10k(b *testing.B) {
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "x.db"))
	require.NoError(b, err)
	defer s.Close()
	var c Change
	for i := range 10_000 {
		c.Instances = append(c.Instances, instance(fmt.Sprint("i", i), fmt.Sprint("n", i)))
	}
	require.NoError(b, s.Apply(b.Context(), &c))
	for b.Loop() {
		got, err := s.Instances(b.Context())
		require.NoError(b, err)
		require.Len(b, got, 10_000)
	}
}
