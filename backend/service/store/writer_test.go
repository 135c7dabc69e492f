package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/service/store"
	"berth/backend/service/store/storetest"
)

// queued waits until n writes are queued behind the one that is written.
func queued(t *testing.T, w *store.Writer, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return w.Queued() == n }, time.Minute, time.Millisecond)
}

func TestWhatIsQueuedIsOneTransaction(t *testing.T) {
	s := open(t, t.TempDir())
	slow := storetest.NewSlow(s)
	release := slow.Hold()
	w := store.NewWriter(slow)
	var mu sync.Mutex
	var shown []int64
	var wg sync.WaitGroup
	write := func(i int) {
		wg.Go(func() {
			ev := &api.Event{Time: time.Now(), InstanceID: "i", Message: fmt.Sprint(i)}
			err := w.Write(&store.Change{Instances: []store.Instance{storetest.Instance(fmt.Sprint("i", i), fmt.Sprint("name-", i))},
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
	<-slow.Waiting
	for i := range 50 {
		write(i + 1)
	}
	queued(t, w, 50)
	release()
	wg.Wait()
	w.Close()
	require.Equal(t, []int{1, 50}, slow.Transactions())
	require.Len(t, shown, 51)
	require.True(t, slices.IsSorted(shown), "in the order of their numbers: %v", shown)
	require.ErrorContains(t, w.Write(&store.Change{}, nil), "closed")
}

// TestABadChangeFailsAlone: of those that wait together one can't be written, and one panics when it is shown.
func TestABadChangeFailsAlone(t *testing.T) {
	s := open(t, t.TempDir())
	require.NoError(t, s.Apply(t.Context(), &store.Change{Instances: []store.Instance{storetest.Instance("i0", "taken")}}))
	slow := storetest.NewSlow(s)
	release := slow.Hold()
	w := store.NewWriter(slow)
	errs := make([]error, 10)
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.Write(&store.Change{}, nil) })
	<-slow.Waiting
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
			errs[i] = w.Write(&store.Change{Instances: []store.Instance{storetest.Instance(fmt.Sprint("i", i+1), name)}}, applied)
		})
	}
	queued(t, w, len(errs))
	release()
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
