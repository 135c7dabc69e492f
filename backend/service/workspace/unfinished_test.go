package workspace

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/service/store"
)

// someProfiles are "r" and "julia", which can be installed, and "cuda" and "driver", which can't until mended.
func someProfiles(mended *bool) func([]string, string) (api.SetupPlan, error) {
	return func(names []string, _ string) (out api.SetupPlan, err error) {
		for _, n := range names {
			s := api.SetupStep{Name: profileName(n) + ".install", Title: n, Script: "true"}
			if n := profileName(n); (n == "cuda" || n == "driver") && !*mended {
				s.Script = "fail"
			}
			out.Steps = append(out.Steps, s)
		}
		return out, nil
	}
}

// TestAFailedSetUpStaysKnown while another one is carried out, over a restart of the daemon, until it is gone
// on with.
func TestAFailedSetUpStaysKnown(t *testing.T) {
	e := newEnv(t)
	mended := false
	e.opts = func(o *Options) { o.Profiles = someProfiles(&mended) }
	w, done := e.open()
	e.create(w, "vision")
	setup := func(state api.OpState, q api.SetupRequest) api.Operation {
		t.Helper()
		op, err := w.Setups.Begin(e.ctx(), "vision", q)
		require.NoError(t, err)
		op = ended(t, w, op)
		require.Equal(t, state, op.State, "%v", op.Error)
		return op
	}
	is := func(state api.State, profiles ...string) {
		t.Helper()
		_, err := w.Reconciler.Refresh(e.ctx(), "vision")
		require.NoError(t, err)
		in, err := w.Instance(context.Background(), "vision")
		require.NoError(t, err)
		require.Equal(t, state, in.State)
		require.ElementsMatch(t, profiles, in.Profiles)
	}
	plans := func() []api.SetupPlan {
		e.lines.setup.mu.Lock()
		defer e.lines.setup.mu.Unlock()
		return e.lines.setup.begun
	}
	failed := setup(api.OpFailed, api.SetupRequest{Profiles: []string{"cuda=12.4"}})
	require.Contains(t, failed.Error.Message, "cuda=12.4")
	is(api.StateSetupFailed)
	op := setup(api.OpSucceeded, api.SetupRequest{Profiles: []string{"r"}})
	require.Equal(t, []string{"an older set-up of vision (cuda=12.4) failed and is not finished; go on with it: berth setup vision --resume, or let go of it: --forget"}, op.Warnings)
	is(api.StateSetupFailed, "r")
	in, err := w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Contains(t, in.StateReason, "cuda=12.4", "it says why")

	done()
	w, _ = e.open()
	setup(api.OpFailed, api.SetupRequest{Profiles: []string{"driver", "julia"}})
	is(api.StateSetupFailed, "r")
	begun := plans()
	require.Len(t, begun, 3)
	op = setup(api.OpSucceeded, api.SetupRequest{Resume: true})
	require.Empty(t, op.Warnings)
	is(api.StateRunning, "r", "cuda=12.4", "driver", "julia")
	require.Len(t, plans(), 3, "nothing was begun anew")
	require.Equal(t, []string{begun[0].ID, begun[2].ID}, e.lines.setup.resumed, "oldest first")
	rec, err := w.Record(in.ID)
	require.NoError(t, err)
	require.Empty(t, unfinished(&rec))

	// What does all of it anew leaves nothing of the old one.
	mended = false
	setup(api.OpFailed, api.SetupRequest{Profiles: []string{"cuda=12.6"}})
	setup(api.OpFailed, api.SetupRequest{Profiles: []string{"driver", "cuda=12.8"}})
	rec, err = w.Record(in.ID)
	require.NoError(t, err)
	require.Len(t, unfinished(&rec), 1)
	e.lines.setup.mu.Lock()
	delete(e.lines.setup.plans, rec.SetupID)
	e.lines.setup.mu.Unlock()
	op = setup(api.OpFailed, api.SetupRequest{Resume: true})
	require.Equal(t, "begin it anew: berth setup vision --profile driver,cuda=12.8", op.Error.Hint,
		"where the agent has forgotten it")
	mended = true
	setup(api.OpSucceeded, api.SetupRequest{Profiles: []string{"cuda=12.8", "driver"}})
	is(api.StateRunning, "r", "cuda=12.4", "cuda=12.8", "driver", "julia")
}

// TestAFailedScriptIsReplacedByAnother: the profiles before it are there, and a mended script is what is left.
func TestAFailedScriptIsReplacedByAnother(t *testing.T) {
	e := newEnv(t)
	mended := true
	e.opts = func(o *Options) { o.Profiles = someProfiles(&mended) }
	w, _ := e.open()
	op, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision", Profiles: []string{"r"}, Setup: "fail now"})
	require.NoError(t, err)
	require.Equal(t, api.OpFailed, ended(t, w, op).State)
	in, err := w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, []string{"r"}, in.Profiles)
	op, err = w.Setups.Begin(e.ctx(), "vision", api.SetupRequest{Profiles: []string{"julia"}})
	require.NoError(t, err)
	op = ended(t, w, op)
	require.Equal(t, api.OpSucceeded, op.State)
	require.Equal(t, []string{"an older set-up of vision failed and is not finished; go on with it: berth setup vision --resume, or let go of it: --forget"}, op.Warnings)
	op, err = w.Setups.Begin(e.ctx(), "vision", api.SetupRequest{Setup: "echo mended"})
	require.NoError(t, err)
	op = ended(t, w, op)
	require.Equal(t, api.OpSucceeded, op.State)
	require.Empty(t, op.Warnings)
	in, err = w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, api.StateRunning, in.State)
	require.Equal(t, []string{"r", "julia"}, in.Profiles)
}

// TestAFailedSetUpIsLetGoOf: nothing of it is unfinished then, also for the agent, and the instance is as usable as
// before.
func TestAFailedSetUpIsLetGoOf(t *testing.T) {
	e := newEnv(t)
	mended := false
	e.opts = func(o *Options) { o.Profiles = someProfiles(&mended) }
	w, done := e.open()
	e.create(w, "vision")
	setup := func(state api.OpState, q api.SetupRequest) api.Operation {
		t.Helper()
		op, err := w.Setups.Begin(e.ctx(), "vision", q)
		require.NoError(t, err)
		op = ended(t, w, op)
		require.Equal(t, state, op.State, "%v", op.Error)
		return op
	}
	is := func(state api.State) {
		t.Helper()
		in, err := w.Reconciler.Refresh(e.ctx(), "vision")
		require.NoError(t, err)
		require.Equal(t, state, in.State)
	}
	for _, q := range []api.SetupRequest{{Resume: true}, {Forget: true}} {
		op := setup(api.OpSucceeded, q)
		require.Len(t, op.Warnings, 1)
		require.Contains(t, op.Warnings[0], "nothing is unfinished")
	}
	setup(api.OpFailed, api.SetupRequest{Profiles: []string{"cuda=12.4"}})
	op := setup(api.OpFailed, api.SetupRequest{Setup: "fail"})
	require.Contains(t, op.Error.Hint, "berth setup vision --forget")
	is(api.StateSetupFailed)
	_, err := w.Setups.Begin(e.ctx(), "vision", api.SetupRequest{Resume: true, Forget: true})
	require.Equal(t, api.CodeUsage, api.AsError(err).Code)
	op = setup(api.OpSucceeded, api.SetupRequest{Forget: true, RequestID: "op-forget"})
	require.Equal(t, []string{"given up: cuda=12.4, a script; what its steps did stays as it is"}, op.Warnings)
	require.Equal(t, "op-forget", op.ID)
	again := setup(api.OpSucceeded, api.SetupRequest{Forget: true, RequestID: "op-forget"})
	require.Equal(t, op.Warnings, again.Warnings, "its answer was lost")
	is(api.StateRunning)
	in, err := w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Nil(t, in.Operation, "the one that failed is no news any more")
	require.Empty(t, in.StateReason)
	require.Len(t, e.lines.setup.cancelled, 2, "the agent knows")
	done()
	w, _ = e.open()
	is(api.StateRunning)
	require.Contains(t, setup(api.OpSucceeded, api.SetupRequest{Resume: true}).Warnings[0], "nothing is unfinished")

	// Also of a machine that was stopped.
	setup(api.OpFailed, api.SetupRequest{Profiles: []string{"cuda"}})
	act := func(kind string) {
		t.Helper()
		op, err := w.Action(e.ctx(), "vision", kind, api.ActionRequest{})
		require.NoError(t, err)
		require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	}
	act("stop")
	setup(api.OpSucceeded, api.SetupRequest{Forget: true})
	is(api.StateStopped)
	act("start")
	is(api.StateRunning)
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		s, old []string
		ss, os bool
		want   bool
	}{
		{[]string{"r"}, []string{"cuda"}, false, false, false},
		{[]string{"r", "cuda"}, []string{"cuda"}, false, false, true},
		{[]string{"cuda=12.6"}, []string{"cuda=12.4"}, false, false, true},
		{[]string{"cuda"}, []string{"cuda=12.4"}, false, false, true},
		{[]string{"conda:env=b"}, []string{"conda:env=a"}, false, false, false},
		{[]string{"conda:env=a"}, []string{"conda:env=a"}, false, false, true},
		{[]string{"cuda"}, []string{"cuda"}, false, true, false},
		{[]string{"cuda"}, []string{"cuda"}, true, true, true},
		{nil, nil, true, true, true},
		{[]string{"r"}, nil, false, true, false},
	} {
		require.Equal(t, c.want, covers(store.Setup{Profiles: c.s, Script: c.ss}, store.Setup{Profiles: c.old, Script: c.os}),
			"%+v", c)
	}
}
