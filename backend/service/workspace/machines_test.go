package workspace

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/mem"
	"berth/backend/service/store"
)

// profiles knows the profile "r" alone.
func profiles(names []string, _ string) (out api.SetupPlan, err error) {
	for _, n := range names {
		if n != "r" {
			return out, api.Errorf(api.CodeUsage, "there is no profile %q", n)
		}
		out.Steps = append(out.Steps, api.SetupStep{Name: "r.install", Title: "R", Script: "true", Root: true})
	}
	return out, nil
}

func TestSetUpFailsAndGoesOn(t *testing.T) {
	e := newEnv(t)
	e.opts = func(o *Options) { o.Profiles = profiles }
	w, _ := e.open()
	_, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision", Profiles: []string{"q"}})
	require.ErrorContains(t, err, "no profile", "said before anything is made")
	op, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision", Profiles: []string{"r"}, Setup: "fail now",
		OnStart: "echo hi"})
	require.NoError(t, err)
	op = ended(t, w, op)
	require.Equal(t, api.OpFailed, op.State)
	require.Contains(t, op.Error.Message, "the set-up script: ended with code 3")
	require.Contains(t, op.Error.Message, "no such package")
	require.Contains(t, op.Error.Hint, "berth setup vision --resume")
	in, err := w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, api.StateSetupFailed, in.State)
	var setup *api.Step
	for i := range op.Steps {
		if op.Steps[i].Name == "setup" {
			setup = &op.Steps[i]
		}
	}
	require.Len(t, setup.Parts, 3)
	require.Equal(t, api.OpFailed, setup.Parts[1].State)

	// What the provider says does not hide it.
	_, err = w.Reconciler.Refresh(e.ctx(), "vision")
	require.NoError(t, err)
	w.Reconciler.Reconcile(e.ctx())
	in, err = w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, api.StateSetupFailed, in.State)

	_, err = w.Setups.Begin(e.ctx(), "vision", api.SetupRequest{})
	require.Equal(t, api.CodeUsage, api.AsError(err).Code)
	op, err = w.Setups.Begin(e.ctx(), "vision", api.SetupRequest{Resume: true})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	in, err = w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, api.StateRunning, in.State)
	require.Equal(t, []string{"r"}, in.Profiles, "what was resumed is there")

	op, err = w.Setups.Begin(e.ctx(), "vision", api.SetupRequest{Profiles: []string{"r"}})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	in, err = w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, []string{"r"}, in.Profiles)

	// Each start runs the start script, in a plan of its own.
	begun := len(e.lines.setup.begun)
	for _, kind := range []string{"stop", "start", "restart"} {
		op, err = w.Action(e.ctx(), "vision", kind, api.ActionRequest{})
		require.NoError(t, err)
		require.Equal(t, api.OpSucceeded, ended(t, w, op).State, kind)
	}
	require.Len(t, e.lines.setup.begun, begun+2)
	last := e.lines.setup.begun[begun+1]
	require.Equal(t, "echo hi", last.Steps[0].Script)
	require.NotEqual(t, e.lines.setup.begun[begun].ID, last.ID)
}

// An agent that is being replaced refuses for longer than its client asks again: the set-up waits for the next one.
func TestSetUpWaitsForAnAgentThatIsReplaced(t *testing.T) {
	for name, answer := range map[string]error{
		"this build's":        api.Errorf(api.CodeMoved, "the agent is being replaced or stopped"),
		"of the build before": api.Errorf(api.CodeConflict, "the agent is being replaced or stopped"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			var since time.Time
			e.lines.setup.leaves = func() error {
				if since.IsZero() {
					since = time.Now()
				}
				if time.Since(since) < 6*time.Second {
					return answer
				}
				return nil
			}
			w, _ := e.open()
			op, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision", Setup: "true"})
			require.NoError(t, err)
			op = ended(t, w, op)
			require.Equal(t, api.OpSucceeded, op.State, op.Error)
			require.Len(t, e.lines.setup.begun, 1)
		})
	}
}

func TestStartScriptThatFailsIsResumed(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	op, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision", OnStart: "true"})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	w.mu.Lock()
	for _, en := range w.entries {
		en.rec.Spec.OnStart = "fail at the second start"
	}
	w.mu.Unlock()
	op, err = w.Action(e.ctx(), "vision", "restart", api.ActionRequest{})
	require.NoError(t, err)
	require.Equal(t, api.OpFailed, ended(t, w, op).State)
	state := func() api.State {
		in, err := w.Reconciler.Refresh(e.ctx(), "vision")
		require.NoError(t, err)
		return in.State
	}
	require.Equal(t, api.StateSetupFailed, state())
	w.Reconciler.Reconcile(e.ctx())
	require.Equal(t, api.StateSetupFailed, state(), "whatever the provider says")
	op, err = w.Setups.Begin(e.ctx(), "vision", api.SetupRequest{Resume: true})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	require.Equal(t, api.StateRunning, state())
	e.lines.setup.mu.Lock()
	defer e.lines.setup.mu.Unlock()
	last := e.lines.setup.begun[len(e.lines.setup.begun)-1]
	require.Equal(t, api.OpSucceeded, e.lines.setup.plans[last.ID].State, "the start script's own plan went on")
}

func TestPrepareShowsHowFarItIs(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	gate, away := make(chan struct{}), atomic.Bool{}
	e.mem.Hook = func(ctx context.Context, method string) error {
		if method == "Prepare" && away.Load() {
			return api.Errorf(api.CodeUnreachable, "no route to the image")
		}
		if method == "Prepare" {
			<-gate
		}
		return nil
	}
	w.limits.Backoff = time.Hour
	away.Store(true)
	_, err := w.Create(e.ctx(), api.CreateRequest{Name: "waits"})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		in, err := w.Instance(context.Background(), "waits")
		return err == nil && in.Operation != nil && in.Operation.Steps[0].Message == "no route to the image"
	}, 2*time.Minute, time.Millisecond, "why it waits is said")
	away.Store(false)
	op, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision"})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		in, err := w.Instance(context.Background(), "vision")
		return err == nil && in.Operation != nil && in.Operation.Steps[0].Message == "fetching base" &&
			in.Operation.Steps[0].TotalBytes == 100
	}, 2*time.Minute, time.Millisecond)
	close(gate)
	op = ended(t, w, op)
	require.Equal(t, api.OpSucceeded, op.State, op.Error)
	require.Equal(t, 1, e.mem.Calls()["Prepare"])
}

func TestMachineThatDoesNotReactIsSwitchedOff(t *testing.T) {
	e := newEnv(t)
	e.opts = func(o *Options) { o.Limits.Gentle = 50 * time.Millisecond }
	w, _ := e.open()
	e.create(w, "vision")
	e.mem.Deaf = true
	op, err := w.Action(e.ctx(), "vision", "stop", api.ActionRequest{})
	require.NoError(t, err)
	op = ended(t, w, op)
	require.Equal(t, api.OpSucceeded, op.State, op.Error)
	require.Equal(t, 1, e.mem.Calls()["ForceStop"])
	require.Contains(t, strings.Join(op.Warnings, " "), "did not react to the stop")

	op, err = w.Action(e.ctx(), "vision", "start", api.ActionRequest{})
	require.NoError(t, err)
	ended(t, w, op)
	op, err = w.Action(e.ctx(), "vision", "stop", api.ActionRequest{Force: true})
	require.NoError(t, err)
	op = ended(t, w, op)
	require.Equal(t, api.OpSucceeded, op.State, op.Error)
	require.Empty(t, op.Warnings, "it was asked for")
}

func TestQuietRestartIsSeenByTheBoot(t *testing.T) {
	e := newEnv(t)
	e.mem.Quiet = true
	e.opts = func(o *Options) { o.Limits.Gentle = 30 * time.Millisecond }
	w, _ := e.open()
	e.create(w, "vision")
	e.lines.mu.Lock()
	e.lines.boot = "one"
	e.lines.mu.Unlock()
	op, err := w.Action(e.ctx(), "vision", "restart", api.ActionRequest{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return e.mem.Calls()["ForceRestart"] == 1 }, 2*time.Minute, time.Millisecond,
		"the old boot went on answering")
	require.Equal(t, 1, w.Busy(), "and the restart is not over for that")
	e.lines.mu.Lock()
	e.lines.boot = "two"
	e.lines.mu.Unlock()
	op = ended(t, w, op)
	require.Equal(t, api.OpSucceeded, op.State, op.Error)
}

func TestMachineWhoseAgentNeverAnswers(t *testing.T) {
	e := newEnv(t)
	e.opts = func(o *Options) { o.Limits.Agent = 100 * time.Millisecond }
	e.lines.err = api.Errorf(api.CodeUnreachable, "nobody there")
	w, _ := e.open()
	op, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision"})
	require.NoError(t, err)
	op = ended(t, w, op)
	require.Equal(t, api.OpFailed, op.State)
	require.Contains(t, op.Error.Message, "nobody there")
	require.Contains(t, op.Error.Message, "booted vision", "the console's last lines")
	state := func() api.State {
		in, err := w.Instance(context.Background(), "vision")
		require.NoError(t, err)
		return in.State
	}
	require.Equal(t, api.StateUnusable, state())
	w.Reconciler.Reconcile(e.ctx())
	require.Equal(t, api.StateUnusable, state(), "though the provider calls it running")
	e.lines.mu.Lock()
	e.lines.err = nil
	e.lines.mu.Unlock()
	w.probeAll(e.ctx(), "mem")
	require.Equal(t, api.StateRunning, state(), "until its agent answers")
	op, err = w.Action(e.ctx(), "vision", "delete", api.ActionRequest{})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
}

func TestMachineOnItsWayDownIsLookedAtAgain(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	in := e.create(w, "vision")
	ctx, cancel := context.WithCancel(e.ctx())
	defer cancel()
	go w.Reconciler.Run(ctx)
	w.LineState(in.ID, false, nil) // its line breaks; the provider still calls it running
	gets := e.mem.Calls()["Get"]
	require.Eventually(t, func() bool { return e.mem.Calls()["Get"] > gets }, 2*time.Minute, time.Millisecond)
	rec, err := w.Record(in.ID)
	require.NoError(t, err)
	require.NoError(t, e.mem.Stop(t.Context(), ref(&rec)))
	require.Eventually(t, func() bool {
		in, err := w.Instance(context.Background(), "vision")
		return err == nil && in.State == api.StateStopped
	}, 2*time.Minute, 10*time.Millisecond, "nobody watches, and no line tells any more")
}

// The renewal of a host key is begun by itself once a machine can be used, makes way for whatever somebody
// asks for, and is begun again.
func TestHostKeyRenewalMakesWay(t *testing.T) {
	e := newEnv(t)
	e.mem.Line = backend.Line{SSH: &backend.SSHTarget{Host: "192.0.2.1", Made: true}}
	w, done := e.open()
	in := e.create(w, "vision")
	renewing := func(w *Workspace) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		run := w.entries[in.ID].run
		return run != nil && run.Kind == opHostKey
	}
	require.False(t, renewing(w), "there is none to renew")
	require.NoError(t, w.keep(t.Context(), in.ID, func(rec *store.Instance) { rec.HostKeys = "SHA256:first" }))
	act := func(w *Workspace, kind string) {
		t.Helper()
		op, err := w.Action(e.ctx(), "vision", kind, api.ActionRequest{})
		require.NoError(t, err)
		require.Equal(t, api.OpSucceeded, ended(t, w, op).State, op.Error)
	}
	act(w, "stop")
	require.False(t, renewing(w))
	act(w, "start")
	require.Eventually(t, func() bool { return renewing(w) }, 2*time.Minute, time.Millisecond)
	op, err := w.Snapshots.Take(e.ctx(), "vision", api.SnapshotRequest{Name: "before"})
	require.NoError(t, err, "it makes way")
	require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	require.Eventually(t, func() bool { return renewing(w) }, 2*time.Minute, time.Millisecond, "and begins again")
	done()
	w, _ = e.open()
	require.True(t, renewing(w), "the next daemon goes on with it")
	act(w, "stop")
	require.False(t, renewing(w))
	evs, err := w.Events(e.ctx(), api.EventOptions{})
	require.NoError(t, err)
	for _, ev := range evs {
		require.Equal(t, "info", ev.Level, ev.Message)
	}
}

func TestSnapshotsClonesAndImages(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	e.create(w, "vision")
	do := func(op api.Operation, err error) api.Operation {
		t.Helper()
		require.NoError(t, err)
		op = ended(t, w, op)
		require.Equal(t, api.OpSucceeded, op.State, op.Error)
		return op
	}
	do(w.Snapshots.Take(e.ctx(), "vision", api.SnapshotRequest{Name: "before"}))
	_, err := w.Snapshots.Take(e.ctx(), "vision", api.SnapshotRequest{Name: "before"})
	require.ErrorIs(t, err, backend.ErrConflict)
	_, err = w.Snapshots.Restore(e.ctx(), "vision", api.SnapshotRequest{Name: "never"})
	require.ErrorIs(t, err, backend.ErrNotFound)
	do(w.Snapshots.Restore(e.ctx(), "vision", api.SnapshotRequest{Name: "before"}))
	require.Empty(t, e.lines.set)
	e.lines.mu.Lock()
	e.lines.behind = 3 * time.Minute
	e.lines.mu.Unlock()
	do(w.Snapshots.Restore(e.ctx(), "vision", api.SnapshotRequest{Name: "before"}))
	e.lines.mu.Lock()
	require.Len(t, e.lines.set, 1, "it went on with the memory of three minutes ago")
	require.WithinDuration(t, time.Now(), e.lines.set[0], 10*time.Second)
	e.lines.mu.Unlock()
	in, err := w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, api.StateRunning, in.State)
	list, err := w.Snapshots.List(e.ctx(), "vision")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, w.Snapshots.Delete(e.ctx(), "vision", "before"))
	require.NoError(t, w.Snapshots.Delete(e.ctx(), "vision", "before"))

	_, err = w.Create(e.ctx(), api.CreateRequest{Name: "second", From: "vision"})
	require.ErrorIs(t, err, backend.ErrRefused, "its disk can't be copied whole while it runs")
	yes := true
	do(w.Create(e.ctx(), api.CreateRequest{Name: "first", SSH: &yes, DiskBytes: 7 << 30, OnStart: "true", Subnet: "net",
		Tags: map[string]string{"team": "vision", "for": "tests"}}))
	do(w.Action(e.ctx(), "first", "stop", api.ActionRequest{}))
	do(w.Create(e.ctx(), api.CreateRequest{Name: "second", From: "first", Tags: map[string]string{"for": "trying"}}))
	in, err = w.Instance(context.Background(), "second")
	require.NoError(t, err)
	require.Equal(t, "base", in.Image)
	require.True(t, in.SSHEnabled)
	require.Equal(t, "net", in.Subnet)
	require.Equal(t, []string{"vision", "trying", "second"}, []string{in.Tags["team"], in.Tags["for"], in.Name})
	first, err := w.Record("first")
	require.NoError(t, err)
	second, err := w.Record("second")
	require.NoError(t, err)
	require.NotEqual(t, first.Tags[backend.TagOp], second.Tags[backend.TagOp])
	require.Equal(t, []any{int64(0), "true"}, []any{second.Spec.DiskBytes, second.Spec.OnStart},
		"the disk is that of the source")
	do(w.Action(e.ctx(), "vision", "stop", api.ActionRequest{}))

	do(w.Images.Build(e.ctx(), api.ImageRequest{Name: "mine", From: "vision"}))
	do(w.Images.Build(e.ctx(), api.ImageRequest{Name: "mine", From: "vision"}))
	_, err = w.Images.Build(e.ctx(), api.ImageRequest{Name: "base", From: "vision"})
	require.ErrorIs(t, err, backend.ErrConflict)
	_, err = w.Images.Build(e.ctx(), api.ImageRequest{Name: "mine", From: "second"})
	require.ErrorIs(t, err, backend.ErrConflict)
	images, err := w.Catalogue.Images(e.ctx(), "mem")
	require.NoError(t, err)
	require.Len(t, images, 2)
	require.Equal(t, "vision", images[1].Source)
	require.NoError(t, w.Images.Delete(e.ctx(), "mem", "mine"))

	// One that ran is started again, with all that belongs to a start.
	do(w.Action(e.ctx(), "first", "start", api.ActionRequest{}))
	starts := func() (n int) {
		e.lines.setup.mu.Lock()
		defer e.lines.setup.mu.Unlock()
		for _, p := range e.lines.setup.begun {
			if strings.HasPrefix(p.ID, "start-") {
				n++
			}
		}
		return n
	}
	before := starts()
	e.lines.mu.Lock()
	e.lines.boot = "another"
	e.lines.mu.Unlock()
	do(w.Images.Build(e.ctx(), api.ImageRequest{Name: "running", From: "first"}))
	require.Equal(t, before+1, starts())
}

func TestWhatCanOnlyFailLeavesNothing(t *testing.T) {
	e := newEnv(t)
	refuse := error(api.Errorf(api.CodeUsage, "there is no network nowhere"))
	e.mem.Hook = func(_ context.Context, method string) error {
		if method == "Validate" {
			return refuse
		}
		return nil
	}
	w, _ := e.open()
	_, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision", Subnet: "nowhere"})
	require.ErrorContains(t, err, "there is no network nowhere")
	require.Zero(t, w.Len())
	refuse = api.Errorf(api.CodeUnreachable, "nobody answers")
	e.create(w, "vision") // the operation finds out
}

func TestAConsoleOfWhatWasNeverMade(t *testing.T) {
	e := newEnv(t)
	e.mem.Hook = func(_ context.Context, method string) error {
		if method == "Prepare" {
			return api.Errorf(api.CodeFailed, "the image is broken")
		}
		return nil
	}
	w, _ := e.open()
	op, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision"})
	require.NoError(t, err)
	require.Equal(t, api.OpFailed, ended(t, w, op).State)
	_, err = w.Catalogue.Console(e.ctx(), "vision")
	require.ErrorContains(t, err, "vision was never made")
}

// TestAListingLooksAgainForWhatWasLost: nobody watches, so that only listings ask.
func TestAListingLooksAgainForWhatWasLost(t *testing.T) {
	e := newEnv(t)
	var away atomic.Int32
	gate := make(chan struct{})
	e.mem.Hook = func(ctx context.Context, method string) error {
		switch {
		case method == "List" && away.Load() == 1:
			return api.Errorf(api.CodeUnreachable, "connection refused")
		case method == "List" && away.Load() == 2:
			select {
			case <-gate:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
	w, _ := e.open()
	e.create(w, "vision")
	state := func() api.State {
		in, err := w.Instance(context.Background(), "vision")
		require.NoError(t, err)
		return in.State
	}
	away.Store(1)
	for range 5 {
		w.Reconciler.Reconcile(e.ctx())
	}
	require.Equal(t, api.StateUnknown, state())
	again := func() api.State {
		l := w.Reconciler.loops["mem"]
		l.mu.Lock()
		l.last = time.Time{}
		l.mu.Unlock()
		w.Reconciler.Fresh(e.ctx())
		return state()
	}
	require.Equal(t, api.StateUnknown, again())
	away.Store(2)
	require.Equal(t, api.StateUnknown, again(), "a provider that hangs is not waited for")
	close(gate)
	require.Equal(t, api.StateRunning, again())
}

func TestLeftoversAreOfferedToTheirHomeOnly(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	in := e.create(w, "vision")
	rec, err := w.Record(in.ID)
	require.NoError(t, err)
	_, home := w.IDs()
	for _, l := range []backend.Leftover{{ID: rec.Token, Home: home}, {ID: "op-gone", Home: home, What: "a disk"},
		{ID: "op-theirs", Home: "another", What: "a disk"}} {
		mem.AddLeftover(e.mem, l)
	}
	var found []api.Check
	for _, c := range w.Doctor.Check(e.ctx()) {
		if c.Area == "leftover" {
			found = append(found, c)
		}
	}
	require.Len(t, found, 2)
	require.NotEmpty(t, found[0].OrphanID)
	require.Empty(t, found[1].OrphanID)
	require.NoError(t, w.Doctor.RemoveOrphan(e.ctx(), found[0].OrphanID, false))
	require.Error(t, w.Doctor.RemoveOrphan(e.ctx(), found[0].OrphanID, false), "it is gone")
	require.Error(t, w.Doctor.RemoveOrphan(e.ctx(), "mem:+op-theirs", false), "another home's")
}

func TestAccessIsPinnedAndHandedIn(t *testing.T) {
	e := newEnv(t)
	e.mem.Line = backend.Line{SSH: &backend.SSHTarget{Host: "127.0.0.1", Port: 2222, User: "debian", Made: true}}
	key := filepath.Join(t.TempDir(), "keys", "workspace")
	e.opts = func(o *Options) { o.KeyPath = key }
	t.Setenv("HOME", t.TempDir())
	w, _ := e.open()
	yes := true
	_, err := w.Create(e.ctx(), api.CreateRequest{Name: "open-one", SSH: &yes})
	require.ErrorContains(t, err, "no public key")
	require.Zero(t, w.Len(), "nothing is left that has the name")

	in := e.create(w, "vision")
	rec, err := w.Record(in.ID)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(rec.HostKeys, "SHA256:"), rec.HostKeys)
	require.Equal(t, rec.HostKeys, rec.Line.SSH.HostKey)
	require.Equal(t, key, rec.Line.SSH.IdentityFile)
	require.Equal(t, "vision", rec.Line.SSH.PinnedBy)
	w.Reconciler.Reconcile(e.ctx())
	again, err := w.Record(in.ID)
	require.NoError(t, err)
	require.Equal(t, rec.Line, again.Line, "what the provider says does not unpin it")
	raw, err := json.Marshal(again)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "PRIVATE KEY", "the host key is kept nowhere")
}
