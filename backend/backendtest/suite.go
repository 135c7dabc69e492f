package backendtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
)

// Suite says how to test one backend.
type Suite struct {
	// Open returns the backend under test; it may be called several times on the same provider.
	Open func(t *testing.T) backend.Backend
	// Adopt says what to adopt where the backend makes no machines of its own.
	Adopt func(t *testing.T) backend.AdoptSpec
	// Wait is how long a machine may take to reach a state; 0: 2 minutes.
	Wait time.Duration
}

// Run runs every test of the suite.
func (s Suite) Run(t *testing.T) {
	if s.Wait == 0 {
		s.Wait = 2 * time.Minute
	}
	v := reflect.ValueOf(s)
	for i := range v.NumMethod() {
		name, ok := strings.CutPrefix(v.Type().Method(i).Name, "Test")
		if !ok {
			continue
		}
		t.Run(name, func(t *testing.T) { v.Method(i).Call([]reflect.Value{reflect.ValueOf(t)}) })
	}
}

func token() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	return "op-" + hex.EncodeToString(b[:])
}

func ref(m backend.Machine) backend.Ref {
	return backend.Ref{ID: m.ID, Token: m.Token, Name: m.Name, Data: m.Data}
}

// spec asks for a machine of the default size and image.
func (s Suite) spec(t *testing.T, b backend.Backend, tok string) backend.Spec {
	t.Helper()
	sizes, err := b.Sizes(t.Context())
	require.NoError(t, err)
	images, err := b.Images(t.Context())
	require.NoError(t, err)
	sp := backend.Spec{Token: tok, Name: "test-" + tok[len(tok)-6:], Tags: map[string]string{backend.TagOp: tok,
		backend.TagWorkspace: "w"}}
	for _, z := range sizes {
		if z.Default {
			sp.Size = z.Name
		}
	}
	for _, im := range images {
		if im.Default {
			sp.Image = im.Name
		}
	}
	return sp
}

// machine makes a running machine, or adopts one, and has it deleted at the end of the test.
func (s Suite) machine(t *testing.T, b backend.Backend) backend.Machine {
	t.Helper()
	var m backend.Machine
	var err error
	if b.Info().Capabilities.Create {
		m, err = b.Create(t.Context(), s.spec(t, b, token()))
	} else {
		a := s.Adopt(t)
		a.Token, a.Name = token(), "adopted"
		m, err = b.(backend.Adopter).Adopt(t.Context(), a)
	}
	require.NoError(t, err)
	t.Cleanup(func() { s.remove(t, b, ref(m)) })
	return s.await(t, b, ref(m), api.StateRunning)
}

// remove deletes a machine and waits until it is gone.
func (s Suite) remove(t *testing.T, b backend.Backend, r backend.Ref) {
	t.Helper()
	// The test's own context has ended by now.
	ctx, cancel := context.WithTimeout(context.Background(), s.Wait)
	defer cancel()
	require.NoError(t, b.Delete(ctx, r))
	if !b.Info().Capabilities.Create {
		return
	}
	for {
		_, err := b.Get(ctx, r)
		if errors.Is(err, backend.ErrNotFound) {
			return
		}
		require.NoError(t, ctx.Err(), "the machine is not gone")
		time.Sleep(5 * time.Millisecond)
	}
}

// await polls until the machine has the state.
func (s Suite) await(t *testing.T, b backend.Backend, r backend.Ref, want api.State) backend.Machine {
	t.Helper()
	deadline := time.Now().Add(s.Wait)
	for {
		m, err := b.Get(t.Context(), r)
		require.NoError(t, err)
		if m.State == want {
			return m
		}
		require.True(t, time.Now().Before(deadline), "state %s (%s), want %s", m.State, m.Reason, want)
		time.Sleep(5 * time.Millisecond)
	}
}

// TestInfo checks that a backend describes itself and explains what it can't.
func (s Suite) TestInfo(t *testing.T) {
	b := s.Open(t)
	info := b.Info()
	require.NotEmpty(t, info.Name)
	require.NotEmpty(t, info.Title)
	c := info.Capabilities
	for name, can := range map[string]bool{"create": c.Create, "start": c.Start, "stop": c.Stop, "restart": c.Restart,
		"delete": c.Delete, "console": c.Console} {
		if !can {
			require.NotEmpty(t, c.Why[name], "the backend can't %s and does not say why", name)
		}
	}
	_, adopts := b.(backend.Adopter)
	require.Equal(t, c.Adopt, adopts)
	who, err := b.Whoami(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, who)
	if a, ok := b.(backend.Accounter); ok {
		account, err := a.Account(t.Context())
		require.NoError(t, err)
		again, err := a.Account(t.Context())
		require.NoError(t, err)
		require.Equal(t, account, again)
		if account != "" {
			require.NotEmpty(t, info.AccountVariable, "how is another one chosen?")
		}
	}
}

// TestCatalogue checks sizes and images.
func (s Suite) TestCatalogue(t *testing.T) {
	b := s.Open(t)
	sizes, serr := b.Sizes(t.Context())
	images, ierr := b.Images(t.Context())
	require.NoError(t, serr)
	require.NoError(t, ierr)
	if !b.Info().Capabilities.Create {
		require.Empty(t, sizes)
		require.Empty(t, images)
		return
	}
	names, defaults := map[string]bool{}, 0
	for _, z := range sizes {
		require.False(t, names[z.Name], "size %s twice", z.Name)
		names[z.Name] = true
		require.Equal(t, b.Info().Name, z.Backend)
		if z.Default {
			defaults++
		}
	}
	require.Equal(t, 1, defaults, "default sizes")
	defaults = 0
	for _, im := range images {
		if im.Default {
			defaults++
		}
	}
	require.Equal(t, 1, defaults, "default images")
}

// TestUnsupportedIsSaid checks that what a backend can't do is ErrUnsupported, not a failure.
func (s Suite) TestUnsupportedIsSaid(t *testing.T) {
	b := s.Open(t)
	c := b.Info().Capabilities
	if !c.Create {
		_, err := b.Create(t.Context(), backend.Spec{Token: token(), Name: "nope"})
		require.ErrorIs(t, err, backend.ErrUnsupported)
	}
	if !c.List {
		_, err := b.List(t.Context())
		require.ErrorIs(t, err, backend.ErrUnsupported)
	}
	if c.Start && c.Stop && c.Restart && c.Console {
		return
	}
	m := s.machine(t, b)
	for name, call := range map[string]func() error{
		"start":   func() error { return b.Start(t.Context(), ref(m)) },
		"stop":    func() error { return b.Stop(t.Context(), ref(m)) },
		"restart": func() error { return b.Restart(t.Context(), ref(m)) },
		"console": func() error { _, err := b.Console(t.Context(), ref(m)); return err },
	} {
		can := map[string]bool{"start": c.Start, "stop": c.Stop, "restart": c.Restart, "console": c.Console}[name]
		if !can {
			require.ErrorIs(t, call(), backend.ErrUnsupported, name)
		}
	}
}

// TestLifecycle takes a machine through its states.
func (s Suite) TestLifecycle(t *testing.T) {
	b := s.Open(t)
	m := s.machine(t, b)
	c := b.Info().Capabilities
	require.NotEmpty(t, m.ID)
	require.NotEqual(t, backend.Line{}, m.Line, "a running machine has a line")
	if !c.Create {
		return
	}
	require.NoError(t, b.Start(t.Context(), ref(m)), "start of what runs")
	s.await(t, b, ref(m), api.StateRunning)
	require.NoError(t, b.Stop(t.Context(), ref(m)))
	s.await(t, b, ref(m), api.StateStopped)
	require.NoError(t, b.Stop(t.Context(), ref(m)), "stop of what is stopped")
	s.await(t, b, ref(m), api.StateStopped)
	require.NoError(t, b.Start(t.Context(), ref(m)))
	s.await(t, b, ref(m), api.StateRunning)
	require.NoError(t, b.Restart(t.Context(), ref(m)))
	s.await(t, b, ref(m), api.StateRunning)
	if c.Console {
		_, err := b.Console(t.Context(), ref(m))
		require.NoError(t, err)
	}
}

// TestCutOff repeats calls that were cut off, from another process: what the first one has begun is no reason to refuse
// the second.
func (s Suite) TestCutOff(t *testing.T) {
	b := s.Open(t)
	if c := b.Info().Capabilities; !c.Create || !c.Stop || !c.Start {
		return // TestUnsupportedIsSaid has checked that it says so
	}
	m := s.machine(t, b)
	type calls = func(b backend.Backend, ctx context.Context) error
	stop := func(b backend.Backend, ctx context.Context) error { return b.Stop(ctx, ref(m)) }
	start := func(b backend.Backend, ctx context.Context) error { return b.Start(ctx, ref(m)) }
	for _, c := range []struct {
		name        string
		first, then calls
		want        api.State
	}{
		{"stop after a stop", stop, stop, api.StateStopped}, {"start after a start", start, start, api.StateRunning},
		{"stop", stop, stop, api.StateStopped}, {"stop after a start", start, stop, api.StateStopped}, {"start", start, start,
			api.StateRunning},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_ = c.first(b, ctx) // whose answer nobody hears
		cancel()
		other := s.Open(t)
		require.NoError(t, c.then(other, t.Context()), c.name)
		s.await(t, other, ref(m), c.want)
	}
}

// TestCreateIsIdempotent repeats a create with its token, also from another process and at once.
func (s Suite) TestCreateIsIdempotent(t *testing.T) {
	b := s.Open(t)
	if !b.Info().Capabilities.Create {
		return // nothing to repeat; TestUnsupportedIsSaid has checked that it says so
	}
	sp := s.spec(t, b, token())
	first, err := b.Create(t.Context(), sp)
	require.NoError(t, err)
	t.Cleanup(func() { s.remove(t, b, ref(first)) })
	again, err := b.Create(t.Context(), sp)
	require.NoError(t, err)
	require.Equal(t, first.ID, again.ID)
	other := s.Open(t)
	again, err = other.Create(t.Context(), sp)
	require.NoError(t, err)
	require.Equal(t, first.ID, again.ID)

	sp2 := s.spec(t, b, token())
	ids := make([]string, 5)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			if m, err := b.Create(t.Context(), sp2); err == nil {
				ids[i] = m.ID
			}
		})
	}
	wg.Wait()
	var made string
	for _, id := range ids {
		if id == "" {
			continue // one may lose to another with a conflict
		}
		if made == "" {
			made = id
		}
		require.Equal(t, made, id)
	}
	require.NotEmpty(t, made)
	s.await(t, b, backend.Ref{ID: made, Token: sp2.Token}, api.StateRunning)
	s.remove(t, b, backend.Ref{ID: made, Token: sp2.Token})
}

// TestFoundByToken finds and deletes a machine whose id never arrived.
func (s Suite) TestFoundByToken(t *testing.T) {
	b := s.Open(t)
	if !b.Info().Capabilities.Create {
		return // an adopted machine is known by its address
	}
	sp := s.spec(t, b, token())
	m, err := b.Create(t.Context(), sp)
	require.NoError(t, err)
	s.await(t, b, backend.Ref{Token: sp.Token}, api.StateRunning)
	s.remove(t, b, backend.Ref{Token: sp.Token})
	_, err = b.Get(t.Context(), ref(m))
	require.ErrorIs(t, err, backend.ErrNotFound)
}

// TestDeleteOfWhatIsGone deletes twice, and what never was.
func (s Suite) TestDeleteOfWhatIsGone(t *testing.T) {
	b := s.Open(t)
	require.NoError(t, b.Delete(t.Context(), backend.Ref{ID: "never-was", Token: "never-was"}))
	if !b.Info().Capabilities.Create {
		return
	}
	m, err := b.Create(t.Context(), s.spec(t, b, token()))
	require.NoError(t, err)
	s.remove(t, b, ref(m))
	require.NoError(t, b.Delete(t.Context(), ref(m)))
	for name, call := range map[string]func() error{
		"start": func() error { return b.Start(t.Context(), ref(m)) },
		"stop":  func() error { return b.Stop(t.Context(), ref(m)) },
	} {
		require.ErrorIs(t, call(), backend.ErrNotFound, name)
	}
}

// TestList finds the machine in the bulk list, with its tags.
func (s Suite) TestList(t *testing.T) {
	b := s.Open(t)
	if !b.Info().Capabilities.List {
		return // checked by TestUnsupportedIsSaid
	}
	m := s.machine(t, b)
	all, err := b.List(t.Context())
	require.NoError(t, err)
	found := 0
	for i := range all {
		if all[i].ID == m.ID {
			found++
			require.Equal(t, m.Token, all[i].Token)
			require.Equal(t, m.Tags, all[i].Tags)
			require.Equal(t, api.StateRunning, all[i].State)
		}
	}
	require.Equal(t, 1, found)
}

// TestConcurrentCalls makes calls of every kind at once; run it with the race detector.
func (s Suite) TestConcurrentCalls(t *testing.T) {
	b := s.Open(t)
	m := s.machine(t, b)
	c := b.Info().Capabilities
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { _, _ = b.Get(t.Context(), ref(m)) })
		wg.Go(func() { _, _ = b.List(t.Context()) })
		if c.Stop {
			wg.Go(func() { _ = b.Stop(t.Context(), ref(m)) })
			wg.Go(func() { _ = b.Start(t.Context(), ref(m)) })
		}
	}
	wg.Wait()
	if c.Stop {
		// Whatever came last, a stop is still obeyed.
		deadline := time.Now().Add(s.Wait)
		for {
			stopped := b.Stop(t.Context(), ref(m))
			got, err := b.Get(t.Context(), ref(m))
			if err == nil && stopped == nil && got.State == api.StateStopped {
				break
			}
			require.True(t, time.Now().Before(deadline), "state %s (%s, %v); the last stop said: %v", got.State, got.Reason, err,
				stopped)
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// TestCancelledContext checks that no call goes on after its context has ended.
func (s Suite) TestCancelledContext(t *testing.T) {
	b := s.Open(t)
	m := s.machine(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := b.Info().Capabilities
	calls := map[string]func() error{
		"Get": func() error { _, err := b.Get(ctx, ref(m)); return err },
	}
	if c.Create {
		sp := s.spec(t, b, token())
		calls["Create"] = func() error { _, err := b.Create(ctx, sp); return err }
	}
	if c.Stop {
		calls["Stop"] = func() error { return b.Stop(ctx, ref(m)) }
	}
	if c.List {
		calls["List"] = func() error { _, err := b.List(ctx); return err }
	}
	for name, call := range calls {
		require.ErrorIs(t, call(), context.Canceled, name)
	}
	got, err := b.Get(t.Context(), ref(m))
	require.NoError(t, err)
	require.Equal(t, api.StateRunning, got.State, "a cancelled call changed the machine")
}
