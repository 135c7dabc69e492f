package job

import (
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/queue"
	"berth/queue/plan"
)

func FuzzParsePlace(f *testing.F) {
	f.Add("blocked,3")
	f.Add("-1,2,3")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := parsePlace(s); err == nil {
			require.Equal(t, s, formatPlace(p))
		}
	})
}

// TestAPageOfWhatStartsNext: the next ones come first, however many wait.
func TestAPageOfWhatStartsNext(t *testing.T) {
	l, _, _ := opened(t, t.TempDir())
	var all []string
	for range 30 {
		all = append(all, submitted(t, l, spec("true")).String())
	}
	eventually(t, "what can run does", func() bool {
		n, err := l.counts(t.Context())
		return err == nil && n.Running > 0
	})
	n, err := l.counts(t.Context())
	require.NoError(t, err)
	var got []string
	var at plan.Place
	for {
		page, err := l.waiting(t.Context(), at, []queue.State{queue.Queued}, 7)
		require.NoError(t, err)
		for i := range page.Jobs {
			require.Equal(t, api.JobQueued, page.Jobs[i].State)
			got = append(got, *page.Jobs[i].ID)
		}
		if page.Next == "" {
			break
		}
		at, err = parsePlace(page.Next)
		require.NoError(t, err)
	}
	require.Equal(t, all[n.Running:], got)
}

// TestEarlierRuns are shown with a job, and with an element of an array.
func TestEarlierRuns(t *testing.T) {
	l, _, _ := opened(t, t.TempDir())
	s := spec("true")
	s.Array = &queue.Array{Ranges: []queue.Range{{First: 3, Last: 3, Step: 1}}}
	id := submitted(t, l, s).At(3)
	require.Empty(t, l.attempts(id, 1))
	got := l.attempts(id, 30)
	require.Len(t, got, mostAttempts)
	require.Equal(t, 29, got[len(got)-1].Attempt)
	require.Nil(t, got[0].ExitCode, "nothing is known of it")
}
