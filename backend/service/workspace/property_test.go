package workspace

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/mem"
)

// faults makes a provider fail, hang and lose answers by chance, until it is mended.
type faults struct {
	mu     sync.Mutex
	rnd    *rand.Rand
	share  float64 // of the calls that go wrong
	mended bool
}

func (f *faults) strike() (kind int, yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rnd.IntN(6), !f.mended && f.rnd.Float64() < f.share
}

func (f *faults) mend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mended = true
}

func (f *faults) before(ctx context.Context, _ string) error {
	kind, yes := f.strike()
	switch {
	case !yes:
		return nil
	case kind == 0: // it hangs
		<-ctx.Done()
		return ctx.Err()
	case kind == 1:
		return api.Errorf(api.CodeQuota, "no more of these")
	case kind == 2:
		return api.Errorf(api.CodeFailed, "internal error 500")
	}
	return api.Errorf(api.CodeUnreachable, "no route")
}

func (f *faults) after(context.Context, string) error {
	if _, yes := f.strike(); yes {
		return api.Errorf(api.CodeUnreachable, "the answer is lost")
	}
	return nil
}

// deed is what one client asks for.
type deed struct {
	Kind string
	Name string
}

// TestAnyLifeEndsWell lets several clients do anything with a provider that fails, hangs, is slow and
// loses answers, ends the daemon in the middle, and reconciles all the while. Whatever happens: every
// operation that was acknowledged ends, nothing is made that nobody asked for, nothing is made twice,
// and every instance can be deleted, after which the provider has nothing left.
func TestAnyLifeEndsWell(t *testing.T) {
	names := []string{"aaa", "bbb", "ccc"}
	fewChecks(t, 30)
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(label string) [][]deed {
			one := rapid.Custom(func(rt *rapid.T) deed {
				return deed{rapid.SampledFrom([]string{"create", "create", "start", "stop", "restart", "delete"}).Draw(rt, "kind"),
					rapid.SampledFrom(names).Draw(rt, "name")}
			})
			return rapid.SliceOfN(rapid.SliceOfN(one, 1, 6), 1, 3).Draw(rt, label)
		}
		phases := [][][]deed{draw("before the daemon ends"), draw("after it")}
		seed := rapid.Uint64().Draw(rt, "seed")
		f := &faults{rnd: rand.New(rand.NewPCG(seed, 1)), share: rapid.SampledFrom([]float64{0, 0.1, 0.4}).Draw(rt, "faults")}
		b := mem.New()
		b.Line = backend.Line{Socket: "/somewhere"}
		b.Delay = time.Duration(rapid.IntRange(0, 8).Draw(rt, "delay in ms")) * time.Millisecond
		b.Hook, b.After = f.before, f.after
		e := &env{t: t, path: filepath.Join(t.TempDir(), "x.db"), mem: b, lines: propertyLines(t)}
		e.opts = func(o *Options) {
			o.Limits = Limits{Call: 30 * time.Millisecond, Machine: 150 * time.Millisecond, Agent: time.Second, Tries: 2,
				Backoff: time.Millisecond}
		}

		var mu sync.Mutex
		acked := map[string]string{} // operation: kind
		w, done := e.open()
		for i, clients := range phases {
			ctx, cancel := context.WithCancel(context.Background())
			var wg, looking sync.WaitGroup
			looking.Go(func() {
				for ctx.Err() == nil {
					w.Reconciler.Reconcile(ctx)
				}
			})
			for _, deeds := range clients {
				wg.Go(func() {
					for _, d := range deeds {
						var op api.Operation
						var err error
						if d.Kind == "create" {
							op, err = w.Create(e.ctx(), api.CreateRequest{Name: d.Name})
						} else {
							op, err = w.Action(e.ctx(), d.Name, d.Kind, api.ActionRequest{})
						}
						if err == nil {
							mu.Lock()
							acked[op.ID] = d.Kind
							mu.Unlock()
						}
					}
				})
			}
			wg.Wait()
			cancel()
			looking.Wait()
			if i == 0 {
				done()
				w, done = e.open()
			}
		}
		defer func() { done() }()

		f.mend()
		creates, created := 0, 0
		for id, kind := range acked {
			op := ended(t, w, api.Operation{ID: id, Kind: kind})
			if !op.State.Done() {
				rt.Fatalf("%s ends as %s", kind, op.State)
			}
			if kind == "create" {
				creates++
				if op.State == api.OpSucceeded {
					created++
				}
			}
		}
		if made := b.Calls()["made"]; made > creates || made < created {
			rt.Fatalf("%d machines were made for %d creates, of which %d succeeded", made, creates, created)
		}
		w.Reconciler.Reconcile(context.Background())
		seen := map[string]string{}
		for _, in := range w.Instances(context.Background(), api.ListOptions{}) {
			if was, twice := seen[in.ProviderID]; twice && in.ProviderID != "" {
				rt.Fatalf("%s and %s are one machine", was, in.Name)
			}
			seen[in.ProviderID] = in.Name
			if len(in.Name) > 3 {
				rt.Fatalf("%s was imported: its record was lost", in.Name)
			}
		}
		for _, in := range w.Instances(context.Background(), api.ListOptions{}) {
			op, err := w.Action(e.ctx(), in.ID, "delete", api.ActionRequest{})
			if err != nil {
				rt.Fatalf("deleting %s (%s): %v", in.Name, in.State, err)
			}
			if op = ended(t, w, op); op.State != api.OpSucceeded {
				rt.Fatalf("deleting %s (%s): %v", in.Name, in.State, op.Error)
			}
		}
		if n := b.Len(); n != 0 {
			rt.Fatalf("%d machines are left at the provider when every instance is deleted", n)
		}
		w.Reconciler.Reconcile(context.Background())
		if ins := w.Instances(context.Background(), api.ListOptions{}); len(ins) != 0 {
			rt.Fatalf("%s came back", ins[0].Name)
		}
	})
}

// propertyLines are lines that all runs of a property share.
func propertyLines(t *testing.T) *testLines {
	sharedLines.Do(func() { sharedLines.l = newLines(t) })
	return sharedLines.l
}

var sharedLines struct {
	sync.Once
	l *testLines
}

// TestAStaleListBringsNothingBack deletes an instance while a list that still has its machine is on
// its way.
func TestAStaleListBringsNothingBack(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	in := e.create(w, "vision")
	listed, gone := make(chan struct{}), make(chan struct{})
	e.mem.After = func(_ context.Context, m string) error {
		if m == "List" {
			close(listed)
			<-gone
		}
		return nil
	}
	var wg sync.WaitGroup
	wg.Go(func() { w.Reconciler.Reconcile(context.Background()) })
	<-listed
	op, err := w.Action(e.ctx(), in.ID, "delete", api.ActionRequest{})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	close(gone)
	wg.Wait()
	require.Empty(t, w.Instances(context.Background(), api.ListOptions{}))
}

// TestOneMachineListedTwiceIsOne has a provider repeat a machine in its list, as overlapping pages do.
func TestOneMachineListedTwiceIsOne(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	m := backend.Machine{ID: "m-9", Name: "found", Token: "op-9", State: api.StateRunning,
		Tags: map[string]string{backend.TagWorkspace: w.id}}
	for range 3 {
		w.listed("mem", "", false, []backend.Machine{m, m, m}, w.now())
	}
	require.Len(t, w.Instances(context.Background(), api.ListOptions{}), 1)
}

// TestAListFromBeforeAMachineWasMade is merged when the machine has been made: it does not say that it is gone.
func TestAListFromBeforeAMachineWasMade(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	asked, listed, made := make(chan struct{}), make(chan struct{}), make(chan struct{})
	e.mem.Hook = func(_ context.Context, m string) error {
		if m == "Create" {
			close(asked)
			<-listed
		}
		return nil
	}
	e.mem.After = func(_ context.Context, m string) error {
		if m == "List" {
			close(listed)
			<-made
		}
		return nil
	}
	op, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision"})
	require.NoError(t, err)
	<-asked
	var wg sync.WaitGroup
	wg.Go(func() { w.Reconciler.Reconcile(context.Background()) })
	op = ended(t, w, op)
	require.Equal(t, api.OpSucceeded, op.State, op.Error)
	close(made)
	wg.Wait()
	in, err := w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, api.StateRunning, in.State, in.StateReason)
}
