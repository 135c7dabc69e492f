package job

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/queue"
	"berth/queue/plan"
)

// TestLimits: what is set of a queue counts at once, is told as the reason, and is kept.
func TestLimits(t *testing.T) {
	dir := t.TempDir()
	l, r, _ := opened(t, dir)
	usual := plan.Limits{Slots: 2}
	set := func(q api.QueueLimitsRequest) api.QueueLimits {
		v, err := l.setLimits(t.Context(), dir, usual, q)
		require.NoError(t, err)
		return v
	}
	number := func(n int) *int { return &n }
	s := spec("train")
	s.Group = "big"
	var ids []queue.ID
	for range 4 {
		ids = append(ids, submitted(t, l, s))
	}
	eventually(t, "two start", r.has(&r.started, ids[1]))
	require.False(t, r.has(&r.started, ids[2])())

	v := set(api.QueueLimitsRequest{Slots: number(10), Groups: map[string]*int{"big": number(3), "other": number(0)}})
	require.Equal(t, api.QueueLimits{Slots: 10, UsualSlots: 2, Groups: map[string]int{"big": 3, "other": 0},
		DefaultGPUs: 1}, v)
	eventually(t, "a third one starts", r.has(&r.started, ids[2]))
	one, err := l.one(t.Context(), ids[3])
	require.NoError(t, err)
	require.Equal(t, "it waits for its group big, of which 3 jobs run at once", one.Reason)
	other := s
	other.Group = "other"
	one, err = l.one(t.Context(), submitted(t, l, other))
	require.NoError(t, err)
	require.Contains(t, one.Reason, "its group other")

	set(api.QueueLimitsRequest{Groups: map[string]*int{"other": nil}})
	k, err := readLimits(dir)
	require.NoError(t, err)
	require.Equal(t, plan.Limits{Slots: 10, Groups: map[string]int{"big": 3}}, k.with(usual), "what the next agent keeps to")
	require.Equal(t, 2, set(api.QueueLimitsRequest{Slots: number(0)}).Slots, "as usual again")

	require.Equal(t, 0, set(api.QueueLimitsRequest{DefaultGPUs: number(0)}).DefaultGPUs)
	require.Equal(t, 0, set(api.QueueLimitsRequest{Slots: number(0)}).DefaultGPUs, "it stays")
	require.Equal(t, 1, set(api.QueueLimitsRequest{DefaultGPUs: number(-1)}).DefaultGPUs, "as usual again")

	for _, q := range []api.QueueLimitsRequest{{Slots: number(-1)}, {Slots: number(api.MostSlots + 1)},
		{DefaultGPUs: number(-2)}, {Groups: map[string]*int{"": number(1)}}, {Groups: map[string]*int{"a": number(-1)}},
		{Groups: map[string]*int{"\xff": nil}}} {
		_, err := l.setLimits(t.Context(), dir, usual, q)
		require.ErrorIs(t, err, &api.Error{Code: api.CodeUsage})
	}
	now, err := readLimits(dir)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"big": 3}, now.Groups, "a wrong call changes nothing")

	require.NoError(t, os.WriteFile(filepath.Join(dir, limitsName), []byte(`{"version":2}`), 0o600))
	_, err = readLimits(dir)
	require.ErrorContains(t, err, "version 2")
	require.Equal(t, 3, set(api.QueueLimitsRequest{Slots: number(3)}).Slots, "what can't be read is replaced")
}

func FuzzLimits(f *testing.F) {
	f.Add([]byte(`{"version":1,"slots":4,"groups":{"big":1}}`))
	f.Add([]byte(`{"version":1,"slots":-4}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := parseLimits(b)
		if err != nil {
			return
		}
		if l := k.with(plan.Limits{Slots: 2}); l.Slots < 1 {
			t.Fatalf("%d slots of %q", l.Slots, b)
		}
		again, err := json.Marshal(k)
		require.NoError(t, err)
		same, err := parseLimits(again)
		require.NoError(t, err)
		require.Equal(t, k.Slots, same.Slots)
	})
}

// TestCounts: who knows how many jobs run and wait is told when that changes.
func TestCounts(t *testing.T) {
	h := &part.Host{}
	h.State = t.TempDir()
	s := &service{h: h, began: make(chan struct{})}
	require.NoError(t, os.Mkdir(s.dir(), 0o700))
	l, r, _ := opened(t, s.dir())
	s.loop = l
	got := make(chan api.JobCounts, 1)
	go func() {
		n, _ := s.waitCounts(t.Context(), api.JobCounts{}.String())
		got <- n
	}()
	select {
	case <-got:
		t.Fatal("a quiet queue says nothing")
	case <-time.After(50 * time.Millisecond):
	}
	id := submitted(t, l, spec("true"))
	require.Equal(t, api.JobCounts{Running: 1}, <-got)
	eventually(t, "it starts", r.has(&r.started, id))
}
