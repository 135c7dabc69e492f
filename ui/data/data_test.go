package data

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"berth/backend/api"
)

// streams is a Watcher whose streams are given by the test.
type streams struct {
	mu sync.Mutex
	n  int
	f  func(n int, ctx context.Context, each func(api.Change) error) error
}

func (s *streams) Watch(ctx context.Context, each func(api.Change) error) error {
	s.mu.Lock()
	n := s.n
	s.n++
	s.mu.Unlock()
	return s.f(n, ctx, each)
}

func list(names ...string) []api.Instance {
	var out []api.Instance
	for _, n := range names {
		out = append(out, api.Instance{ID: n, Name: n, State: api.StateRunning})
	}
	return out
}

// follow runs a feed into a store until done says so.
func follow(t *testing.T, w Watcher, done func(*Store) bool) *Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	deltas := make(chan Delta)
	f := NewFeed(w, func(d Delta) {
		select {
		case deltas <- d:
		case <-ctx.Done():
		}
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Run(ctx)
	}()
	s := NewStore()
	for !done(s) {
		select {
		case d := <-deltas:
			s.Apply(d)
		case <-ctx.Done():
			t.Fatal("the store does not come to this state")
		}
	}
	cancel()
	<-ended
	return s
}

func TestReconnectingFindsWhatWentMeanwhile(t *testing.T) {
	w := &streams{f: func(n int, ctx context.Context, each func(api.Change) error) error {
		if n == 0 {
			_ = each(api.Change{Snapshot: list("a", "b")})
			_ = each(api.Change{Snapshot: list("c"), Complete: true})
			return errors.New("gone")
		}
		_ = each(api.Change{Snapshot: list("b", "d"), Complete: true})
		<-ctx.Done()
		return ctx.Err()
	}}
	s := follow(t, w, func(s *Store) bool { return s.Row("d") != nil })
	require.Nil(t, s.Row("a"))
	require.Nil(t, s.Row("c"))
	require.Equal(t, 2, s.Len())
	require.True(t, s.Connected)
}

func TestManyChangesAreOneDelta(t *testing.T) {
	w := &streams{f: func(_ int, ctx context.Context, each func(api.Change) error) error {
		_ = each(api.Change{Snapshot: list("a"), Complete: true})
		for i := range 5000 {
			in := list("a")[0]
			in.Port = i
			_ = each(api.Change{Instance: &in})
			_ = each(api.Change{Event: &api.Event{Seq: int64(i + 1)}})
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	s := follow(t, w, func(s *Store) bool { r := s.Row("a"); return r != nil && r.Port == 4999 })
	require.Less(t, s.Gen, uint64(50))
	require.LessOrEqual(t, len(s.Events()), maxEvents+maxEvents/4)
}

// However changes are cut into deltas, the store ends as the changes say.
func TestDeltasLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := map[string]int{}
		f := NewFeed(nil, nil)
		s := NewStore()
		for i := range rapid.IntRange(1, 60).Draw(t, "changes") {
			id := fmt.Sprint(rapid.IntRange(0, 6).Draw(t, "id"))
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				f.Add(api.Change{Removed: id})
				delete(want, id)
			case 1:
				if d, ok := f.Take(); ok {
					s.Apply(d)
				}
			default:
				f.Add(api.Change{Instance: &api.Instance{ID: id, Name: id, Port: i}})
				want[id] = i
			}
		}
		if d, ok := f.Take(); ok {
			s.Apply(d)
		}
		got := map[string]int{}
		s.Each(func(r *Row) { got[r.ID] = r.Port })
		require.Equal(t, want, got)
	})
}

func TestNamesTakenTwiceCarryTheirBackend(t *testing.T) {
	s := NewStore()
	s.Apply(Delta{Changed: []*api.Instance{{ID: "1", Name: "box", Backend: "local"}, {ID: "2", Name: "Box",
		Backend: "ec2"}, {ID: "3", Name: "one", Backend: "ec2"}}})
	require.Equal(t, "local/box", s.Ref(s.Row("1")))
	require.Equal(t, "ec2/Box", s.Ref(s.Row("2")))
	require.Equal(t, "one", s.Ref(s.Row("3")))
	require.Equal(t, "2", s.ByName("EC2/box").ID)
	require.Nil(t, s.ByName("none"))
}

func TestTotals(t *testing.T) {
	two, half := 2.0, 0.5
	s := NewStore()
	require.Zero(t, s.Totals())
	s.Apply(Delta{Changed: []*api.Instance{
		{ID: "1", State: api.StateRunning, RunningUSDPerHour: &two, StoppedUSDPerHour: &half, GPUs: make([]api.GPU, 3),
			CostTodayUSD: &two},
		{ID: "2", State: api.StateStopped, RunningUSDPerHour: &two, StoppedUSDPerHour: &half},
		{ID: "3", State: api.StateStarting}, {ID: "4", State: api.StateUnusable}, {ID: "5", State: api.StateUnknown},
	}})
	require.Equal(t, Totals{All: 5, Running: 1, Changing: 1, Stopped: 1, Failed: 1, Unknown: 1, GPUs: 3, PerHour: 2.5,
		Today: 2, PerHourKnown: true, TodayKnown: true}, s.Totals())
}

func TestBerthsOwnTagsAreNotShown(t *testing.T) {
	r := &Row{Instance: api.Instance{Name: "vision",
		Tags: map[string]string{"project": "x", "berth-op": "op-1", "Berth-Home": "h"}}}
	require.Equal(t, map[string]string{"project": "x"}, r.UserTags())
	require.Contains(t, r.Haystack(), "project=x")
	require.NotContains(t, r.Haystack(), "berth")
	require.Len(t, r.Tags, 3, "what the service told stays as it is")
}
