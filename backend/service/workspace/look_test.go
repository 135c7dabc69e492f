package workspace

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
)

// TestErrorsOfWhatIsSo lets the provider refuse calls whose effect is there: none fails. Refusals of what is not so
// remain.
func TestErrorsOfWhatIsSo(t *testing.T) {
	already := api.Errorf(api.CodeConflict, "the domain is so already")
	e := newEnv(t)
	var lie, refuse atomic.Bool
	e.mem.After = func(_ context.Context, method string) error {
		if lie.Load() && (method == "Create" || method == "Start" || method == "Stop" || method == "Restart") {
			return already
		}
		return nil
	}
	e.mem.Hook = func(_ context.Context, method string) error {
		if refuse.Load() && (method == "Start" || method == "Stop") {
			return already
		}
		return nil
	}
	for _, delay := range []time.Duration{0, 50 * time.Millisecond} { // it is there, and on its way
		e.mem.Delay = delay
		lie.Store(true)
		w, done := e.open()
		e.create(w, "vision")
		for _, kind := range []string{opStop, opStart} {
			refuse.Store(true)
			op, err := w.Action(e.ctx(), "vision", kind, api.ActionRequest{})
			require.NoError(t, err)
			op = ended(t, w, op)
			require.Equal(t, api.OpFailed, op.State, kind)
			require.Contains(t, op.Error.Message, already.Message)
			refuse.Store(false)
			op, err = w.Action(e.ctx(), "vision", kind, api.ActionRequest{})
			require.NoError(t, err)
			op = ended(t, w, op)
			require.Equal(t, api.OpSucceeded, op.State, "%s: %v", kind, op.Error)
		}
		lie.Store(false)
		op, err := w.Action(e.ctx(), "vision", opDelete, api.ActionRequest{})
		require.NoError(t, err)
		require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
		done()
	}
}

// cut begins an action and ends the daemon once the provider has taken the call, before that is written.
func (e *env) cut(kind string) {
	e.t.Helper()
	called := make(chan struct{})
	e.mem.After = func(ctx context.Context, method string) error {
		if method != map[string]string{opStart: "Start", opStop: "Stop", opRestart: "Restart"}[kind] {
			return nil
		}
		close(called)
		<-ctx.Done() // nobody hears the answer
		return ctx.Err()
	}
	w, done := e.open()
	_, err := w.Action(e.ctx(), "vision", kind, api.ActionRequest{})
	require.NoError(e.t, err)
	select {
	case <-called:
	case <-time.After(20 * time.Second):
		e.t.Fatal("the provider is not asked")
	}
	done()
	e.mem.After = nil
}

// TestResumedStepLooks ends the daemon in the middle of a call: the next one looks before it asks again.
func TestResumedStepLooks(t *testing.T) {
	e := newEnv(t)
	w, done := e.open()
	e.create(w, "vision")
	done()
	for _, kind := range []string{opStop, opStart} {
		before := e.mem.Calls()
		e.cut(kind)
		w, done := e.open()
		ops := w.Operations()
		for _, op := range ops {
			require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
		}
		in, err := w.Instance(context.Background(), "vision")
		require.NoError(t, err)
		require.Equal(t, map[string]api.State{opStop: api.StateStopped, opStart: api.StateRunning}[kind], in.State)
		after := e.mem.Calls()
		for _, method := range []string{"Start", "Stop"} {
			require.LessOrEqual(t, after[method]-before[method], 1, "%s is asked for once", method)
		}
		done()
	}

	// A machine that went off in the middle of a restart is started.
	e.cut(opRestart)
	in, err := e.mem.List(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.mem.Stop(t.Context(), backend.Ref{ID: in[0].ID}))
	w, _ = e.open()
	for _, op := range w.Operations() {
		op = ended(t, w, op)
		require.Equal(t, api.OpSucceeded, op.State, op.Error)
	}
	got, err := w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, api.StateRunning, got.State)
}

// TestCreateCarriesWhatItWasPlannedWith edits images and profiles between the steps of a create, in the middle of which
// the daemon ends.
func TestCreateCarriesWhatItWasPlannedWith(t *testing.T) {
	e := newEnv(t)
	e.mem.Edition = "one"
	var gone atomic.Bool
	e.opts = func(o *Options) {
		o.Profiles = func([]string, string) (api.SetupPlan, error) {
			if gone.Load() {
				return api.SetupPlan{}, api.Errorf(api.CodeNotFound, "there is no such profile any more")
			}
			return api.SetupPlan{Steps: []api.SetupStep{{Name: "tool.install", Script: "as planned"}}}, nil
		}
	}
	prepared := make(chan struct{})
	var once sync.Once
	e.mem.After = func(ctx context.Context, method string) error {
		if method == "Prepare" {
			once.Do(func() {
				close(prepared)
				<-ctx.Done()
			})
		}
		return ctx.Err()
	}
	w, done := e.open()
	op, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision", Profiles: []string{"tool"}})
	require.NoError(t, err)
	select {
	case <-prepared:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is prepared")
	}
	done()
	e.mem.Edition = "two"
	gone.Store(true)
	w, _ = e.open()
	op = ended(t, w, op)
	require.Equal(t, api.OpSucceeded, op.State, op.Error)
	rec, err := w.Record("vision")
	require.NoError(t, err)
	require.JSONEq(t, `"base one"`, string(rec.Data))
	require.Equal(t, "as planned", e.lines.setup.begun[len(e.lines.setup.begun)-1].Steps[0].Script)
	stored, err := w.opts.Store.Operation(t.Context(), op.ID)
	require.NoError(t, err)
	require.Nil(t, stored.Profiled, "what is done needs no plan any more")
}

// TestStartThatComesToNothing has a machine that is off again after it was starting: it is asked once more.
func TestStartThatComesToNothing(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	e.create(w, "vision")
	op, err := w.Action(e.ctx(), "vision", opStop, api.ActionRequest{})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	e.mem.Delay = time.Hour
	var starts atomic.Int32
	var looked atomic.Bool
	e.mem.After = func(ctx context.Context, method string) error {
		switch method {
		case "Start":
			if starts.Add(1) == 2 {
				e.mem.Put(api.StateRunning)
			}
		case "Get":
			if starts.Load() == 1 && !looked.Swap(true) {
				e.mem.Put(api.StateStopped)
			}
		}
		return nil
	}
	op, err = w.Action(e.ctx(), "vision", opStart, api.ActionRequest{})
	require.NoError(t, err)
	op = ended(t, w, op)
	require.Equal(t, api.OpSucceeded, op.State, op.Error)
	require.EqualValues(t, 2, starts.Load())
}

// TestAClockThatIsOffIsShown asks an instance whose clock is a day behind.
func TestAClockThatIsOffIsShown(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	in := e.create(w, "vision")
	require.Zero(t, in.Agent.ClockAhead)
	e.lines.mu.Lock()
	e.lines.behind = 24 * time.Hour
	e.lines.mu.Unlock()
	in, err := w.Reconciler.Show(e.ctx(), "vision")
	require.NoError(t, err)
	require.InDelta(t, -86400, in.Agent.ClockAhead, 60)
	w.LineState(in.ID, true, &api.AgentStatus{State: "ready"})
	in, err = w.Instance(e.ctx(), "vision")
	require.NoError(t, err)
	require.InDelta(t, -86400, in.Agent.ClockAhead, 60, "a line that comes up does not measure it")
}

// TestAReasonIsOneTruth has a machine that could not be reached for another reason by now, which its line has heard.
func TestAReasonIsOneTruth(t *testing.T) {
	e := newEnv(t)
	var mu sync.Mutex
	why, gets := "nothing listens there", 0
	w, _ := e.open()
	in := e.create(w, "vision")
	w.mu.Lock()
	w.entries[in.ID].rec.Adopted = true
	w.mu.Unlock()
	e.mem.Hook = func(_ context.Context, method string) error {
		mu.Lock()
		defer mu.Unlock()
		if method != "Get" {
			return nil
		}
		gets++
		return api.Errorf(api.CodeUnreachable, "%s", why)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go w.Reconciler.Run(ctx)
	reason := func() string {
		now, err := w.Instance(context.Background(), in.ID)
		require.NoError(t, err)
		return string(now.State) + " " + now.StateReason
	}
	require.NoError(t, w.observe(e.ctx(), in.ID, nil, false))
	require.Equal(t, "unknown nothing listens there", reason())
	mu.Lock()
	why = "its host key has changed"
	mu.Unlock()
	w.LineState(in.ID, false, &api.AgentStatus{State: "connecting", Reason: "its host key has changed"})
	require.Eventually(t, func() bool { return reason() == "unknown its host key has changed" }, 2*time.Minute,
		5*time.Millisecond)
	mu.Lock()
	before := gets
	mu.Unlock()
	for range 10 { // it knocks no more often than there is news
		w.LineState(in.ID, false, &api.AgentStatus{State: "connecting", Reason: "its host key has changed"})
	}
	require.NoError(t, w.observe(e.ctx(), in.ID, nil, false))
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, before+1, gets)
}
