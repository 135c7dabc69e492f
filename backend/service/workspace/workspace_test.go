package workspace

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/mem"
	"berth/backend/service/store"
	"berth/backend/service/store/storetest"
)

// testLines is a way to an agent that answers /v1/info, or to none.
type testLines struct {
	mu     sync.Mutex
	err    error
	forgot []string
	socket string
	boot   string
	behind time.Duration // by which its clock is
	set    []time.Time   // to which its clock was set
	setup  fakeSetup
	jobs   fakeJobs
	engine func(program []byte) // is told what is brought; nil: nothing may be
}

func newLines(t testing.TB) *testLines {
	dir, err := os.MkdirTemp("", "bw") // a short path
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l := &testLines{socket: filepath.Join(dir, "s")}
	ln, err := net.Listen("unix", l.socket)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/info", func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		now := time.Now().Add(-l.behind)
		api.WriteJSON(w, 200, api.AgentInfo{Version: "1", Capability: 1, User: "me", OS: "linux", Arch: "amd64", BootID: l.boot,
			Workdir: "/home/me", Now: now, LastActivity: now.Add(-time.Hour)})
	})
	mux.HandleFunc("POST /v1/clock", func(w http.ResponseWriter, r *http.Request) {
		var q api.ClockRequest
		if err := api.ReadJSON(r, &q); err != nil {
			api.WriteError(w, err)
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.set, l.behind = append(l.set, q.Now), 0
		api.WriteJSON(w, 200, struct{}{})
	})
	mux.HandleFunc("POST /v1/engine", func(w http.ResponseWriter, r *http.Request) {
		var q api.EngineRequest
		if err := api.ReadJSON(r, &q); err != nil || l.engine == nil {
			api.WriteError(w, api.Errorf(api.CodeUsage, "nothing is to be brought: %w", err))
			return
		}
		l.engine(q.Program)
		api.WriteJSON(w, 200, api.EngineAnswer{Protocol: 1})
	})
	l.setup.routes(mux)
	l.jobs.routes(mux)
	srv := &http.Server{Handler: mux}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	return l
}

func (l *testLines) Agent(ctx context.Context, _ backend.Endpoint) (net.Conn, error) {
	l.mu.Lock()
	err := l.err
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", l.socket)
}

func (l *testLines) Forget(_ context.Context, in backend.Endpoint, _ string) (*backend.Shared, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgot = append(l.forgot, in.Name)
	return nil, nil
}

type env struct {
	t     *testing.T
	path  string
	mem   *mem.Backend
	lines *testLines
	opts  func(*Options)
}

func newEnv(t *testing.T) *env {
	b := mem.New()
	b.Line = backend.Line{Socket: "/somewhere"}
	return &env{t: t, path: filepath.Join(t.TempDir(), "x.db"), mem: b, lines: newLines(t)}
}

// open opens a workspace on the env's store; closing it is like the daemon's end.
func (e *env) open() (*Workspace, func()) {
	e.t.Helper()
	st, err := store.Open(e.t.Context(), e.path)
	require.NoError(e.t, err)
	o := Options{Store: st, Backends: map[string]backend.Backend{"mem": e.mem}, Dialer: e.lines,
		Defaults: Defaults{Backend: "mem"}, Parcels: e.parcels(),
		Limits: Limits{Call: 2 * time.Second, Machine: 5 * time.Second, Agent: 2 * time.Second, Backoff: time.Millisecond}}
	if e.opts != nil {
		e.opts(&o)
	}
	w, err := Open(e.t.Context(), o)
	require.NoError(e.t, err)
	require.NoError(e.t, w.Resume(e.t.Context()))
	done := sync.OnceFunc(func() {
		w.Close()
		_ = st.Close()
	})
	e.t.Cleanup(done)
	return w, done
}

// parcels is the folder that has those of jobs that wait.
func (e *env) parcels() string { return filepath.Join(filepath.Dir(e.path), "outbox") }

func (e *env) ctx() context.Context {
	return backend.WithCaller(e.t.Context(), &backend.Caller{Principal: backend.Principal{ID: "local:1", Name: "tester"}})
}

// ended waits for an operation.
func ended(t *testing.T, w *Workspace, op api.Operation) api.Operation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	require.NoError(t, w.operations.Wait(ctx, op.ID), "operation %s does not end", op.Kind)
	op, err := w.Operation(t.Context(), op.ID)
	require.NoError(t, err)
	return op
}

func (e *env) create(w *Workspace, name string) api.Instance {
	e.t.Helper()
	op, err := w.Create(e.ctx(), api.CreateRequest{Name: name})
	require.NoError(e.t, err)
	op = ended(e.t, w, op)
	require.Equal(e.t, api.OpSucceeded, op.State, op.Error)
	in, err := w.Instance(context.Background(), name)
	require.NoError(e.t, err)
	return in
}

func TestLifeOfAnInstance(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	in := e.create(w, "vision")
	require.Equal(t, api.StateRunning, in.State)
	require.Equal(t, "small", in.Size)
	require.Equal(t, "me", in.Owner)
	require.True(t, in.Mine)
	require.Equal(t, "/home/me", in.Workdir)
	require.Equal(t, 0.5, *in.PriceUSDPerHour)
	require.WithinDuration(t, time.Now(), *in.IdleSince, time.Minute, "it was being made")
	w.probeAll(e.ctx(), "mem")
	in, err := w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(-time.Hour), *in.IdleSince, time.Minute, "as its agent says")
	for _, step := range []struct {
		kind string
		want api.State
	}{{"stop", api.StateStopped}, {"stop", api.StateStopped}, {"start", api.StateRunning}, {"restart", api.StateRunning}} {
		op, err := w.Action(e.ctx(), "VISION", step.kind, api.ActionRequest{})
		require.NoError(t, err)
		op = ended(t, w, op)
		require.Equal(t, api.OpSucceeded, op.State, op.Error)
		require.Equal(t, "tester", op.Actor)
		in, err = w.Instance(context.Background(), "vision")
		require.NoError(t, err)
		require.Equal(t, step.want, in.State)
	}
	require.Equal(t, 1, e.mem.Calls()["Stop"], "stop of what is stopped asks nobody")
	op, err := w.Action(e.ctx(), "vision", "delete", api.ActionRequest{})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	_, err = w.Instance(context.Background(), "vision")
	require.ErrorIs(t, err, backend.ErrNotFound)
	require.Zero(t, e.mem.Len())
	evs, err := w.Events(t.Context(), api.EventOptions{})
	require.NoError(t, err)
	require.Greater(t, len(evs), 15)
	for _, ev := range evs {
		require.Equal(t, "tester", ev.Actor, ev.Message)
	}
}

func TestNamesAreChecked(t *testing.T) {
	for name, ok := range map[string]bool{"abc": true, "a-1": true, "Vision-Lab-0123456789-ab": true, "ab": false,
		"1ab": false, "-ab": false, "a_b": false, "a b": false,
		"aé1": false, "a\x1b[31m": false, "": false, "Vision-Lab-0123456789-abc": false, "a/b": false} {
		err := CheckName(name)
		require.Equal(t, ok, err == nil, "%q: %v", name, err)
		if err != nil {
			require.NotContains(t, err.Error(), "\x1b[")
		}
	}
	e := newEnv(t)
	w, _ := e.open()
	e.create(w, "vision")
	_, err := w.Create(e.ctx(), api.CreateRequest{Name: "Vision"})
	require.ErrorIs(t, err, backend.ErrConflict)
	_, err = w.Create(e.ctx(), api.CreateRequest{Name: "other", Size: "huge"})
	require.Equal(t, api.CodeUsage, api.AsError(err).Code)
	require.Contains(t, api.AsError(err).Hint, "small")
	_, err = w.Create(e.ctx(), api.CreateRequest{Name: "other", For: "bob"})
	require.ErrorIs(t, err, backend.ErrUnsupported)
	_, err = w.Create(e.ctx(), api.CreateRequest{Name: "other", Backend: "none"})
	require.Equal(t, api.CodeUsage, api.AsError(err).Code)
	require.Equal(t, 1, e.mem.Len())
}

func FuzzCheckName(f *testing.F) {
	f.Add("vision-1")
	f.Add("\x1b]0;x\a")
	f.Fuzz(func(t *testing.T, name string) {
		err := CheckName(name)
		if err == nil && (len(name) < 3 || len(name) > 24) {
			t.Fatalf("%q accepted", name)
		}
	})
}

// TestProviderMisbehaves lets the provider fail, hang, answer late and lose answers in each call.
func TestProviderMisbehaves(t *testing.T) {
	boom := api.Errorf(api.CodeQuota, "the provider says: Family DSv3 has 0 of 8 cores left")
	t.Run("create fails", func(t *testing.T) {
		e := newEnv(t)
		e.mem.Hook = func(_ context.Context, m string) error {
			if m == "Create" {
				return boom
			}
			return nil
		}
		w, _ := e.open()
		op, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision"})
		require.NoError(t, err)
		op = ended(t, w, op)
		require.Equal(t, api.OpFailed, op.State)
		require.Equal(t, api.CodeQuota, op.Error.Code)
		in, err := w.Instance(context.Background(), "vision")
		require.NoError(t, err)
		require.Equal(t, api.StateCreateFailed, in.State)
		require.Contains(t, in.StateReason, "0 of 8 cores")
		_, err = w.Action(e.ctx(), "vision", "start", api.ActionRequest{})
		require.ErrorIs(t, err, backend.ErrConflict)
		op, err = w.Action(e.ctx(), "vision", "delete", api.ActionRequest{})
		require.NoError(t, err)
		require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	})
	t.Run("answers are lost", func(t *testing.T) {
		for _, method := range []string{"Create", "Start", "Stop", "Restart", "Delete", "Get"} {
			e := newEnv(t)
			var once sync.Map
			e.mem.After = func(_ context.Context, m string) error {
				if _, seen := once.LoadOrStore(m, true); m == method && !seen {
					return api.Errorf(api.CodeUnreachable, "connection reset")
				}
				return nil
			}
			w, _ := e.open()
			in := e.create(w, "vision")
			for _, kind := range []string{"stop", "start", "restart", "delete"} {
				op, err := w.Action(e.ctx(), in.Name, kind, api.ActionRequest{})
				require.NoError(t, err, "%s after a lost %s", kind, method)
				op = ended(t, w, op)
				require.Equal(t, api.OpSucceeded, op.State, "%s after a lost %s: %v", kind, method, op.Error)
			}
			require.Equal(t, 1, e.mem.Calls()["made"], "made twice after a lost %s", method)
			require.Zero(t, e.mem.Len())
		}
	})
	t.Run("hangs", func(t *testing.T) {
		for _, method := range []string{"Create", "Get", "Stop"} {
			e := newEnv(t)
			e.opts = func(o *Options) {
				o.Limits.Call, o.Limits.Machine, o.Limits.Tries = 30*time.Millisecond, 100*time.Millisecond, 2
			}
			e.mem.Hook = func(ctx context.Context, m string) error {
				if m == method {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}
			w, _ := e.open()
			op, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision"})
			require.NoError(t, err)
			op = ended(t, w, op)
			if method == "Stop" {
				require.Equal(t, api.OpSucceeded, op.State)
				op, err = w.Action(e.ctx(), "vision", "stop", api.ActionRequest{})
				require.NoError(t, err)
				op = ended(t, w, op)
			}
			require.Equal(t, api.OpFailed, op.State, method)
			e.mem.Hook = nil
			op, err = w.Action(e.ctx(), "vision", "delete", api.ActionRequest{})
			require.NoError(t, err)
			require.Equal(t, api.OpSucceeded, ended(t, w, op).State, "always deletable")
			require.Zero(t, e.mem.Len())
		}
	})
	t.Run("lies", func(t *testing.T) {
		e := newEnv(t)
		w, _ := e.open()
		e.create(w, "vision")
		require.NoError(t, e.mem.Delete(t.Context(), backend.Ref{ID: "m-1"})) // behind our back
		w.Reconciler.Reconcile(t.Context())
		in, err := w.Instance(context.Background(), "vision")
		require.NoError(t, err)
		require.Equal(t, api.StateUnusable, in.State)
		require.Contains(t, in.StateReason, "outside Berth")
		op, err := w.Action(e.ctx(), "vision", "start", api.ActionRequest{})
		require.NoError(t, err)
		require.Equal(t, api.OpFailed, ended(t, w, op).State)
		op, err = w.Action(e.ctx(), "vision", "delete", api.ActionRequest{})
		require.NoError(t, err)
		require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
	})
	t.Run("can't be reached", func(t *testing.T) {
		e := newEnv(t)
		w, _ := e.open()
		e.create(w, "vision")
		e.mem.Hook = func(context.Context, string) error { return api.Errorf(api.CodeUnreachable, "no route") }
		w.Reconciler.Reconcile(t.Context())
		in, err := w.Instance(context.Background(), "vision")
		require.NoError(t, err)
		require.Equal(t, api.StateUnknown, in.State)
		require.Contains(t, in.StateReason, "no route")
		e.mem.Hook = nil
		w.Reconciler.Reconcile(t.Context())
		in, err = w.Instance(context.Background(), "vision")
		require.NoError(t, err)
		require.Equal(t, api.StateRunning, in.State)
	})
}

func TestTwoClientsActOnOne(t *testing.T) {
	e := newEnv(t)
	e.mem.Delay = 200 * time.Millisecond
	w, _ := e.open()
	first, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision", RequestID: "op-mine"})
	require.NoError(t, err)
	again, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision", RequestID: "op-mine"})
	require.NoError(t, err)
	require.Equal(t, first.ID, again.ID)
	_, err = w.Action(e.ctx(), "vision", "stop", api.ActionRequest{})
	require.ErrorIs(t, err, backend.ErrConflict)
	require.Equal(t, api.OpSucceeded, ended(t, w, first).State)

	ops := make([]api.Operation, 10)
	var wg sync.WaitGroup
	for i := range ops {
		wg.Go(func() { ops[i], _ = w.Action(e.ctx(), "vision", "stop", api.ActionRequest{}) })
	}
	wg.Wait()
	for _, op := range ops {
		require.Equal(t, ops[0].ID, op.ID)
	}
	ended(t, w, ops[0])
	require.Equal(t, 1, e.mem.Calls()["Stop"])

	start, err := w.Action(e.ctx(), "vision", "start", api.ActionRequest{})
	require.NoError(t, err)
	del, err := w.Action(e.ctx(), "vision", "delete", api.ActionRequest{})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, w, del).State)
	require.Equal(t, api.OpCancelled, ended(t, w, start).State)
	require.Zero(t, e.mem.Len())
}

// TestDaemonEndsInTheMiddle closes the workspace while operations run; the next one finishes them.
func TestDaemonEndsInTheMiddle(t *testing.T) {
	e := newEnv(t)
	e.mem.Delay = 300 * time.Millisecond
	w, done := e.open()
	op, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision"})
	require.NoError(t, err)
	done()
	e.mem.Delay = 0
	w, done = e.open()
	op = ended(t, w, op)
	require.Equal(t, api.OpSucceeded, op.State)
	in, err := w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, api.StateRunning, in.State)
	require.Equal(t, 1, e.mem.Calls()["made"])
	done()
}

// errDied ends a fault point as a kill would: nothing of the workspace runs any further.
type errDied struct{}

// TestEveryFaultPoint stops the workspace dead at each point of each operation, as kill -9 does (the
// goroutine ends there and the store sees nothing more), opens the store again, and checks that the
// operation is finished, nothing is made twice, nothing is left over, and the instance can be deleted.
// The same points are driven by a real kill -9 of the daemon in cmd/berth.
func TestEveryFaultPoint(t *testing.T) {
	for _, point := range append(FaultPoints(), MachineFaultPoints()...) {
		if strings.HasPrefix(point, "adopt.") || strings.HasPrefix(point, opHostKey+".") {
			continue // mem adopts nothing and has no host keys: cmd/berth drives these
		}
		t.Run(point, func(t *testing.T) {
			e := newEnv(t)
			w, done := e.open()
			kind := point[:len(point)-len(rest(point))]
			if kind != "create" {
				e.create(w, "vision")
			}
			if kind == "start" || kind == "image" {
				op, err := w.Action(e.ctx(), "vision", "stop", api.ActionRequest{})
				require.NoError(t, err)
				ended(t, w, op)
			}
			if kind == "restore" {
				op, err := w.Snapshots.Take(e.ctx(), "vision", api.SnapshotRequest{Name: "before"})
				require.NoError(t, err)
				ended(t, w, op)
			}
			done()

			died := make(chan struct{})
			var once sync.Once
			e.opts = func(o *Options) {
				o.Store = dying(o.Store, died)
				o.Fault = func(p string) {
					if p == point {
						once.Do(func() { close(died) })
						panic(errDied{})
					}
				}
				o.dies = func(v any) bool {
					_, ok := v.(errDied)
					return ok
				}
			}
			w, _ = e.open()
			id := e.actDying(w, kind)
			select {
			case <-died:
			case <-time.After(2 * time.Minute):
				t.Fatal("the point was not reached")
			}

			e.opts = nil
			w, _ = e.open()
			if id != "" {
				if op, err := w.Operation(t.Context(), id); err == nil {
					op = ended(t, w, op)
					require.Equal(t, api.OpSucceeded, op.State, op.Error)
				}
			}
			for _, op := range w.Operations() {
				require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
			}
			if kind == "create" {
				want := 1
				if point == "create.begin.before" {
					want = 0 // nothing was acknowledged, nothing was made
				}
				require.Equal(t, want, e.mem.Calls()["made"])
				require.Len(t, w.Instances(context.Background(), api.ListOptions{}), want)
			}
			for _, c := range w.Doctor.Check(t.Context()) {
				require.NotEqual(t, "leftover", c.Area, c.Message)
			}
			for _, in := range w.Instances(context.Background(), api.ListOptions{}) {
				op, err := w.Action(e.ctx(), in.Name, "delete", api.ActionRequest{})
				require.NoError(t, err)
				require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
			}
			require.Zero(t, e.mem.Len())
		})
	}
}

func rest(point string) string {
	for i, c := range point {
		if c == '.' {
			return point[i:]
		}
	}
	return ""
}

// dying is a store that accepts nothing more once the process is dead.
func dying(s store.Store, died <-chan struct{}) store.Store {
	return storetest.Refusing(s, func(*store.Change) bool {
		select {
		case <-died:
			return true
		default:
			return false
		}
	})
}

// actDying begins an operation; the fault may already strike in the call itself.
func (e *env) actDying(w *Workspace, kind string) (id string) {
	defer func() {
		if v := recover(); v != nil {
			if _, ok := v.(errDied); !ok {
				panic(v)
			}
		}
	}()
	var op api.Operation
	var err error
	switch kind {
	case "create":
		op, err = w.Create(e.ctx(), api.CreateRequest{Name: "vision"})
	case "setup":
		op, err = w.Setups.Begin(e.ctx(), "vision", api.SetupRequest{Setup: "true"})
	case "snapshot":
		op, err = w.Snapshots.Take(e.ctx(), "vision", api.SnapshotRequest{Name: "before"})
	case "restore":
		op, err = w.Snapshots.Restore(e.ctx(), "vision", api.SnapshotRequest{Name: "before"})
	case "image":
		op, err = w.Images.Build(e.ctx(), api.ImageRequest{Name: "mine", From: "vision"})
	default:
		op, err = w.Action(e.ctx(), "vision", kind, api.ActionRequest{})
	}
	require.NoError(e.t, err)
	return op.ID
}

func TestStoreThatFailsRefusesAndLosesNothing(t *testing.T) {
	e := newEnv(t)
	died := make(chan struct{})
	e.opts = func(o *Options) { o.Store = dying(o.Store, died) }
	w, _ := e.open()
	e.create(w, "vision")
	close(died)
	_, err := w.Create(e.ctx(), api.CreateRequest{Name: "second"})
	require.ErrorIs(t, err, storetest.ErrFull)
	require.Len(t, w.Instances(context.Background(), api.ListOptions{}), 1)
	require.Equal(t, 1, e.mem.Len(), "nothing is made that could not be written first")
}

func TestImportsWhatTheStoreLost(t *testing.T) {
	e := newEnv(t)
	w, done := e.open()
	e.create(w, "vision")
	wid, _ := w.IDs()
	done()
	e.path = filepath.Join(t.TempDir(), "new.db")
	w, _ = e.open()
	w.Reconciler.Reconcile(t.Context())
	require.Empty(t, w.Instances(context.Background(), api.ListOptions{}), "another workspace's machine is not ours")
	var info []api.Check
	for _, c := range w.Doctor.Check(t.Context()) {
		if strings.Contains(c.Message, "another home") {
			info = append(info, c)
		}
	}
	require.Len(t, info, 1)
	require.Empty(t, info[0].OrphanID, "another home's machine is shown, not offered")
	w.id = wid
	w.Reconciler.Reconcile(t.Context())
	ins := w.Instances(context.Background(), api.ListOptions{})
	require.Len(t, ins, 1)
	require.Equal(t, "vision", ins[0].Name)
	require.Equal(t, api.StateRunning, ins[0].State)
}

func TestOrphanIsOfferedAndRemoved(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	_, hid := w.IDs()
	m, err := e.mem.Create(t.Context(), backend.Spec{Token: "op-lost", Name: "lost",
		Tags: map[string]string{backend.TagHome: hid}})
	require.NoError(t, err)
	id := ""
	for _, c := range w.Doctor.Check(t.Context()) {
		if c.OrphanID != "" {
			id = c.OrphanID
		}
	}
	require.Equal(t, "mem:"+m.ID, id)
	require.ErrorIs(t, w.Doctor.RemoveOrphan(t.Context(), "mem:other", false), backend.ErrNotFound)
	require.NoError(t, w.Doctor.RemoveOrphan(t.Context(), id, false))
	require.Zero(t, e.mem.Len())
}

func TestAgentUnavailableIsSaid(t *testing.T) {
	e := newEnv(t)
	e.lines.err = fmt.Errorf("dialling: %w", &backend.AgentUnavailable{Reason: "the home is mounted noexec"})
	w, _ := e.open()
	in := e.create(w, "vision")
	require.Equal(t, api.StateRunning, in.State)
	require.Equal(t, "unavailable", in.Agent.State)
	require.Contains(t, in.Agent.Reason, "noexec")
}

func TestAmbiguousNames(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	e.create(w, "vision")
	w.mu.Lock()
	w.entries["i-x"] = &entry{rec: store.Instance{Instance: api.Instance{ID: "i-x", Name: "Vision", Backend: "other"}}}
	w.mu.Unlock()
	_, err := w.Instance(context.Background(), "vision")
	require.Equal(t, api.CodeUsage, api.AsError(err).Code)
	require.Contains(t, err.Error(), "other/Vision")
	in, err := w.Instance(context.Background(), "other/vision")
	require.NoError(t, err)
	require.Equal(t, "i-x", in.ID)
}

// TestClockJumps lets the daemon's clock jump back and forth between the steps: only times suffer.
func TestClockJumps(t *testing.T) {
	e := newEnv(t)
	var mu sync.Mutex
	shift, n := time.Duration(0), 0
	e.opts = func(o *Options) {
		o.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			if n++; n%7 == 0 {
				shift = []time.Duration{-72 * time.Hour, 0, 40 * 24 * time.Hour, -time.Second}[n/7%4]
			}
			return time.Now().Add(shift)
		}
	}
	w, _ := e.open()
	e.create(w, "vision")
	for _, kind := range []string{"stop", "start", "restart", "stop", "start"} {
		op, err := w.Action(e.ctx(), "vision", kind, api.ActionRequest{})
		require.NoError(t, err)
		op = ended(t, w, op)
		require.Equal(t, api.OpSucceeded, op.State, op.Error)
		in, err := w.Instance(context.Background(), "vision")
		require.NoError(t, err)
		require.GreaterOrEqual(t, *in.CostTodayUSD, 0.0)
		require.Less(t, *in.CostTodayUSD, 0.5*24+0.01)
	}
}
