package workspace

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
)

// answers makes a provider's list of machines out of arbitrary bytes: each machine takes the fields of
// one line, split at '|'.
func answers(w *Workspace, text string, n int64, at int64) []backend.Machine {
	var out []backend.Machine
	for i, line := range strings.SplitN(text, "\n", 8) {
		f := strings.Split(line, "|")
		get := func(k int) string { return f[k%len(f)] }
		m := backend.Machine{ID: get(0), Name: get(1), Token: get(2), State: api.State(get(3)), Reason: get(4), Size: get(5),
			Image: get(6), Region: get(7), Owner: get(8),
			AssignedTo: get(9), Address: get(10), User: get(11), Workdir: get(12), Port: int(n), VCPUs: int(-n), MemoryBytes: n,
			DiskBytes: -n,
			GPUs:      []api.GPU{{Name: get(13), MemoryBytes: n}, {Name: get(14), MemoryBytes: -n}}, Notes: []string{get(15),
				get(16)},
			Tags:      map[string]string{backend.TagWorkspace: w.id, get(17): get(18)},
			CreatedAt: time.Unix(at, n), Capabilities: api.Capabilities{Why: map[string]string{get(19): get(20)}}}
		if i%2 == 1 {
			m.GPUs, m.Notes, m.Capabilities.Why, m.CreatedAt = nil, nil, nil, time.Time{}
		}
		out = append(out, m)
	}
	return out
}

// FuzzProviderAnswers feeds whatever a provider might say through the reconciler: nothing panics, the
// store takes all of it, each machine is one instance however often it is listed, what is shown is
// valid JSON that a client reads back, a state that Berth does not know is shown as it is, and a machine
// that was there before is not lost.
func FuzzProviderAnswers(f *testing.F) {
	f.Add("m-7|evil\x1b]0;x\x07\x9b31m|t|paused\u202e|\xff\xfe|big", int64(-1), int64(0))
	f.Add("m-7|a|t|running\nm-7|a|t|stopped\nm-8|a|u|running\n||||", int64(1)<<62, int64(1)<<61)
	f.Add("m-1|vision||paused\nx|a/b/c|../../etc|running|"+strings.Repeat("long ", 500), int64(0), int64(-1)<<61)
	f.Add("", int64(0), int64(0))
	f.Fuzz(func(t *testing.T, text string, n, at int64) {
		var log strings.Builder
		e := newEnv(t)
		e.opts = func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) }
		w, done := e.open()
		defer done()
		e.create(w, "vision")
		ms := answers(w, text, n, at)
		for range 2 {
			w.listed("mem", "", false, ms, time.Now())
		}
		require.NotContains(t, log.String(), "ERROR", "the store takes it")
		ids := map[string]bool{}
		for i := range ms {
			if ms[i].ID != "" {
				ids[valid(ms[i].ID)] = true
			}
		}
		list := w.Instances(context.Background(), api.ListOptions{})
		require.LessOrEqual(t, len(list), len(ids)+1, "one instance a machine")
		b, err := json.Marshal(list)
		require.NoError(t, err)
		var back []api.Instance
		require.NoError(t, json.Unmarshal(b, &back))
		for i := range ms { // sane by now
			if ms[i].ID == "m-1" || ms[i].State == api.StateDeleting {
				continue
			}
			for _, in := range list {
				if in.ProviderID == ms[i].ID && len(ids) == len(ms) && in.Name != "vision" {
					require.NotEmpty(t, in.State)
					if ms[i].State != "" {
						require.Equal(t, ms[i].State, in.State, "shown as it is")
					}
				}
			}
		}
		_, err = w.Instance(context.Background(), "vision")
		require.NoError(t, err, "what was there before is still there")

		done()
		w, done = e.open()
		defer done()
		require.Len(t, w.Instances(context.Background(), api.ListOptions{}), len(list), "kept")
		for _, in := range w.Instances(context.Background(), api.ListOptions{}) {
			rec, err := w.Record(in.ID)
			require.NoError(t, err)
			require.Equal(t, in.ID, rec.ID)
			require.True(t, in.ID == rec.ID && in.Name == rec.Name)
		}
	})
}

// TestAnUnknownStateIsShownAsItIs has a provider say what no version of Berth has heard of: also while
// an operation waits, and with a hostile reason.
func TestAnUnknownStateIsShownAsItIs(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	in := e.create(w, "vision")
	rec, err := w.Record(in.ID)
	require.NoError(t, err)
	m := backend.Machine{ID: rec.ProviderID, Token: rec.Token, Name: "vision", State: "hibernating",
		Reason: "\x1b[2Jmaintenance", Capabilities: rec.Capabilities}
	w.listed("mem", "", false, []backend.Machine{m}, time.Now())
	in, err = w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.EqualValues(t, "hibernating", in.State)
	require.False(t, in.State.Changing())
	op, err := w.Action(e.ctx(), "vision", "delete", api.ActionRequest{})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
}
