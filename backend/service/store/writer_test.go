package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// gated is a store whose first transaction waits until it is let go, and that counts them.
type gated struct {
	Store
	mu      sync.Mutex
	batches []int
	entered chan struct{}
	gate    chan struct{}
}

func (g *gated) Apply(ctx context.Context, cs ...*Change) error {
	g.mu.Lock()
	g.batches = append(g.batches, len(cs))
	first := len(g.batches) == 1
	g.mu.Unlock()
	if first {
		close(g.entered)
		<-g.gate
	}
	return g.Store.Apply(ctx, cs...)
}

// queued waits until n writes are queued behind the one that is written.
func queued(t *testing.T, w *Writer, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return w.Queued() == n }, time.Minute, time.Millisecond)
}

func TestWhatIsQueuedIsOneTransaction(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"))
	g := &gated{Store: s, entered: make(chan struct{}), gate: make(chan struct{})}
	w := NewWriter(g)
	var mu sync.Mutex
	var shown []int64
	var wg sync.WaitGroup
	write := func(i int) {
		wg.Go(func() {
			ev := &api.Event{Time: time.Now(), InstanceID: "i", Message: fmt.Sprint(i)}
			err := w.Write(&Change{Instances: []Instance{instance(fmt.Sprint("i", i), fmt.Sprint("name-", i))},
				Events: []*api.Event{ev}}, func() {
				mu.Lock()
				defer mu.Unlock()
				shown = append(shown, ev.Seq)
			})
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	write(0)
	<-g.entered
	for i := range 50 {
		write(i + 1)
	}
	queued(t, w, 50)
	close(g.gate)
	wg.Wait()
	w.Close()
	require.Equal(t, []int{1, 50}, g.batches)
	require.Len(t, shown, 51)
	require.True(t, slices.IsSorted(shown), "in the order of their numbers: %v", shown)
	require.ErrorIs(t, w.Write(&Change{}, nil), errWriterClosed)
}

// TestABadChangeFailsAlone: of those that wait together one can't be written, and one panics when it is shown.
func TestABadChangeFailsAlone(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"))
	require.NoError(t, s.Apply(t.Context(), &Change{Instances: []Instance{instance("i0", "taken")}}))
	g := &gated{Store: s, entered: make(chan struct{}), gate: make(chan struct{})}
	w := NewWriter(g)
	errs := make([]error, 10)
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.Write(&Change{}, nil) })
	<-g.entered
	for i := range errs {
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					errs[i] = errors.New("panicked")
				}
			}()
			name, applied := fmt.Sprint("name-", i), func() {}
			switch i {
			case 3:
				name = "TAKEN"
			case 5:
				applied = func() { panic("while it is shown") }
			}
			errs[i] = w.Write(&Change{Instances: []Instance{instance(fmt.Sprint("i", i+1), name)}}, applied)
		})
	}
	queued(t, w, len(errs))
	close(g.gate)
	wg.Wait()
	w.Close()
	for i, err := range errs {
		switch i {
		case 3:
			require.ErrorIs(t, err, &api.Error{Code: api.CodeStore})
		case 5:
			require.EqualError(t, err, "panicked")
		default:
			require.NoError(t, err)
		}
	}
	got, err := s.Instances(t.Context())
	require.NoError(t, err)
	require.Len(t, got, 10, "what was there, and all but the bad one")
}
