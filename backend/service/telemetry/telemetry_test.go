package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/coalesce"
	"berth/backend/mem"
	"berth/backend/service/store"
	"berth/backend/service/workspace"
	"berth/gpu"
	"berth/gpu/history"
)

func ptr[T any](v T) *T { return &v }

// agents plays the agents of all instances: what it says can be changed, and it can be deaf.
type agents struct {
	mu      sync.Mutex
	summary map[string]gpu.Summary // by instance name
	deaf    map[string]bool        // accepts and says nothing
	gone    map[string]bool        // can't be reached
	locked  map[string]int         // lets nobody in: how often it was tried
	calls   int
	now     func() time.Time
	past    map[string]*history.History // by instance name; none: an older agent, which has no such path
	hangs   map[string]bool             // does not answer what is asked of the past
	asked   []string                    // whose past was asked for, with since
	asking  int                         // how many are asked at this moment
	most    int                         // and were at most
	srv     *httptest.Server
}

func newAgents(t *testing.T) *agents {
	a := &agents{summary: map[string]gpu.Summary{}, deaf: map[string]bool{}, gone: map[string]bool{},
		locked: map[string]int{},
		now:    time.Now, past: map[string]*history.History{}, hangs: map[string]bool{}}
	a.srv = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.srv.Close)
	return a
}

func (a *agents) set(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

func (a *agents) serve(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/v1/info":
		a.mu.Lock()
		now := a.now()
		a.mu.Unlock()
		api.WriteJSON(w, http.StatusOK, api.AgentInfo{Hostname: "x", Now: now})
	case "/v1/figures":
		api.WriteJSON(w, http.StatusOK, gpu.Sample{SampledAt: time.Now(), Host: gpu.Host{CPU: ptr(5.0)}})
	case "/v1/summary":
		every, _ := time.ParseDuration(r.URL.Query().Get("every"))
		out := api.NewNDJSON(w)
		for r.Context().Err() == nil {
			a.mu.Lock()
			name := r.Header.Get("X-Instance")
			s, deaf, gone := a.summary[name], a.deaf[name], a.gone[name]
			a.calls++
			s.At = a.now()
			a.mu.Unlock()
			if gone {
				return
			}
			if !deaf && out.Write(s) != nil {
				return
			}
			select {
			case <-r.Context().Done():
			case <-time.After(every / 20): // tests have no time
			}
		}
	case "/v1/history":
		a.serveHistory(w, r)
	default:
		api.WriteError(w, api.Errorf(api.CodeNotFound, "%s", r.URL.Path))
	}
}

// Agent implements workspace.Dialer: a connection whose requests carry the instance's name.
func (a *agents) Agent(ctx context.Context, in backend.Endpoint) (net.Conn, error) {
	a.mu.Lock()
	gone := a.gone[in.Name]
	_, locked := a.locked[in.Name]
	if locked {
		a.locked[in.Name]++
	}
	a.mu.Unlock()
	if locked {
		return nil, api.Errorf(api.CodeAuth, "signing in to %s was refused", in.Name)
	}
	if gone {
		return nil, api.Errorf(api.CodeUnreachable, "no route to %s", in.Name)
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", a.srv.Listener.Addr().String())
	if err != nil {
		return nil, err
	}
	return &named{Conn: c, name: in.Name}, nil
}

func (a *agents) Forget(context.Context, backend.Endpoint, string) (*backend.Shared, error) {
	return nil, nil
}

// named adds a header to each request that is written to it.
type named struct {
	net.Conn
	name string
}

func (n *named) Write(b []byte) (int, error) {
	const mark = "Host: berth\r\n"
	if i := indexOf(b, mark); i >= 0 {
		all := append(append(append([]byte{}, b[:i+len(mark)]...), "X-Instance: "+n.name+"\r\n"...), b[i+len(mark):]...)
		_, err := n.Conn.Write(all)
		return len(b), err
	}
	return n.Conn.Write(b)
}

func indexOf(b []byte, s string) int {
	for i := 0; i+len(s) <= len(b); i++ {
		if string(b[i:i+len(s)]) == s {
			return i
		}
	}
	return -1
}

// open makes a workspace with instances that run, and a hub over it.
func open(t *testing.T, a *agents,
	hook func(context.Context, *api.Instance, *api.Attention), names ...string) (*Hub, *workspace.Workspace) {
	t.Helper()
	b := mem.New()
	b.Line = backend.Line{Socket: "/somewhere"}
	st, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	require.NoError(t, err)
	w, err := workspace.Open(t.Context(), workspace.Options{Store: st, Backends: map[string]backend.Backend{"mem": b},
		Dialer: a, Defaults: workspace.Defaults{Backend: "mem"}})
	require.NoError(t, err)
	h := New(Options{Workspace: w, Log: slog.New(slog.DiscardHandler), Hook: hook})
	t.Cleanup(func() {
		h.Close()
		w.Close()
		_ = st.Close()
	})
	for _, n := range names {
		op, err := w.Create(t.Context(), api.CreateRequest{Name: n})
		require.NoError(t, err)
		until(t, "it is made", func() bool {
			op, err = w.Operation(t.Context(), op.ID)
			return err == nil && op.State.Done()
		})
		require.Equal(t, api.OpSucceeded, op.State, op.Error)
	}
	return h, w
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, 2*time.Minute, 5*time.Millisecond, what)
}

// watch follows the fleet and returns what is known of an instance by name.
func watch(t *testing.T, h *Hub, w *workspace.Workspace,
	every time.Duration) (known func(name string) api.FleetFigures, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	got := map[string]api.FleetFigures{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h.Watch(ctx, every, func(batch []api.FleetFigures) error {
			mu.Lock()
			defer mu.Unlock()
			for _, f := range batch {
				got[f.Instance] = f
			}
			return nil
		})
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return func(name string) api.FleetFigures {
		rec, err := w.Record(name)
		if err != nil {
			return api.FleetFigures{}
		}
		mu.Lock()
		defer mu.Unlock()
		return got[rec.ID]
	}, stop
}

func TestOneThatHangsSlowsDownNoOther(t *testing.T) {
	a := newAgents(t)
	a.set(func() {
		a.summary["good"] = gpu.Summary{CPU: ptr(12.0), GPUs: []gpu.GPUSummary{{Name: "A100", Index: 0,
			Utilization: ptr(97.0)}}}
		a.deaf["deaf"], a.gone["lost"] = true, false
	})
	h, w := open(t, a, nil, "good", "deaf", "lost")
	a.set(func() { a.gone["lost"] = true })
	known, stop := watch(t, h, w, time.Second)
	until(t, "figures", func() bool { f := known("good"); return f.Summary != nil && *f.Summary.CPU == 12 })
	until(t, "the one that can't be reached is said", func() bool {
		f := known("lost")
		return f.Silent != nil && f.Summary == nil
	})
	require.Contains(t, known("lost").Why, "no route to lost")
	until(t, "the one that says nothing is said", func() bool { return known("deaf").Silent != nil })
	require.Contains(t, known("deaf").Why, "said nothing")
	require.Nil(t, known("good").Silent)
	// Names are said once by an agent, and stay.
	a.set(func() {
		a.summary["good"] = gpu.Summary{CPU: ptr(13.0), GPUs: []gpu.GPUSummary{{Index: 0, Utilization: ptr(50.0)}}}
		a.gone["lost"] = false
		a.summary["lost"] = gpu.Summary{CPU: ptr(1.0)}
	})
	until(t, "the next figures", func() bool { f := known("good"); return f.Summary != nil && *f.Summary.CPU == 13 })
	require.Equal(t, "A100", known("good").Summary.GPUs[0].Name)
	until(t, "the lost one is back", func() bool { f := known("lost"); return f.Summary != nil && f.Silent == nil })

	// Nobody watches: nobody is asked.
	stop()
	var before int
	until(t, "the streams end", func() bool {
		a.set(func() { before = a.calls })
		time.Sleep(200 * time.Millisecond)
		after := 0
		a.set(func() { after = a.calls })
		return after == before
	})
	// Whoever looks again sees the last figures at once.
	known, _ = watch(t, h, w, time.Second)
	until(t, "the last figures", func() bool { return known("good").Summary != nil })
	until(t, "they are those of now again", func() bool { return known("good").Silent == nil })
}

// Watchers that come right after the last one has left are served.
func TestOneLeavesAsAnotherComes(t *testing.T) {
	a := newAgents(t)
	h, w := open(t, a, nil, "vision")
	for i := range 20 {
		a.set(func() { a.summary["vision"] = gpu.Summary{CPU: ptr(float64(i))} })
		known, stop := watch(t, h, w, time.Second)
		until(t, "its figures", func() bool {
			f := known("vision")
			return f.Summary != nil && *f.Summary.CPU == float64(i) && f.Silent == nil
		})
		stop()
	}
}

// A host that lets nobody in without a person is not knocked at again and again; once its line is up it is
// followed at once.
func TestALockedDoorIsLeftAlone(t *testing.T) {
	a := newAgents(t)
	a.set(func() { a.summary["vision"] = gpu.Summary{CPU: ptr(1.0)} })
	h, w := open(t, a, nil, "vision")
	a.set(func() { a.locked["vision"] = 0 })
	known, _ := watch(t, h, w, time.Second)
	until(t, "it is said", func() bool { return known("vision").Silent != nil })
	require.Contains(t, known("vision").Why, "refused")
	tries := func() (n int) { a.set(func() { n = a.locked["vision"] }); return n }
	before := tries()
	time.Sleep(3 * firstWait)
	require.Equal(t, before, tries())
	rec, err := w.Record("vision")
	require.NoError(t, err)
	w.LineState(rec.ID, false, &api.AgentStatus{State: "needs_you"})
	a.set(func() { delete(a.locked, "vision") }) // somebody has signed in
	w.LineState(rec.ID, true, &api.AgentStatus{State: "ready"})
	until(t, "figures", func() bool { f := known("vision"); return f.Summary != nil && f.Silent == nil })
}

func TestLastFiguresOfAStoppedInstance(t *testing.T) {
	a := newAgents(t)
	a.set(func() { a.summary["vision"] = gpu.Summary{CPU: ptr(42.0)} })
	h, w := open(t, a, nil, "vision")
	known, stop := watch(t, h, w, time.Second)
	until(t, "figures", func() bool { return known("vision").Summary != nil })
	op, err := w.Action(t.Context(), "vision", "stop", api.ActionRequest{})
	require.NoError(t, err)
	until(t, "it is stopped", func() bool {
		op, err = w.Operation(t.Context(), op.ID)
		return err == nil && op.State.Done()
	})
	until(t, "they are kept", func() bool {
		rec, err := w.Record("vision")
		return err == nil && rec.LastFigures != nil && *rec.LastFigures.CPU == 42
	})
	stop()
	h.Close()
	h = New(Options{Workspace: w, Log: slog.New(slog.DiscardHandler)}) // the next daemon's
	defer h.Close()
	known, stop = watch(t, h, w, time.Second)
	defer stop()
	until(t, "they are shown", func() bool {
		f := known("vision")
		return f.Summary != nil && *f.Summary.CPU == 42 && f.Silent == nil
	})
}

func TestAttentionIsAcknowledgedAndMuted(t *testing.T) {
	a := newAgents(t)
	since := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	finding := gpu.Finding{ID: "disk-full:/", Rule: "disk-full", Severity: "warning", Subject: "/", Text: "91% full",
		Advice: "free space", Since: since}
	a.set(func() { a.summary["vision"] = gpu.Summary{Attention: []gpu.Finding{finding}} })
	var mu sync.Mutex
	hooked := 0
	h, w := open(t, a, func(_ context.Context, in *api.Instance, f *api.Attention) {
		mu.Lock()
		defer mu.Unlock()
		hooked++
	}, "vision")
	calls := func() int { mu.Lock(); defer mu.Unlock(); return hooked }
	known, _ := watch(t, h, w, time.Second)
	until(t, "it is found", func() bool { return len(known("vision").Attention) == 1 })
	until(t, "the hook is called", func() bool { return calls() == 1 })
	rec, err := w.Record("vision")
	require.NoError(t, err)
	attend := func(q api.AttentionRequest) {
		t.Helper()
		f, ok := h.Finding(rec.ID, "disk-full:/")[rec.ID]
		require.True(t, ok)
		require.NoError(t, w.Attend(t.Context(), "vision", f, q))
		h.Again(rec.ID)
	}
	attend(api.AttentionRequest{Acknowledge: true})
	until(t, "it is acknowledged", func() bool { return known("vision").Attention[0].Acknowledged })
	// It goes and comes again: that is new.
	a.set(func() {
		finding.Since = since.Add(30 * time.Minute)
		a.summary["vision"] = gpu.Summary{Attention: []gpu.Finding{finding}}
	})
	until(t, "it is new", func() bool { return !known("vision").Attention[0].Acknowledged })
	until(t, "the hook is called again", func() bool { return calls() == 2 })
	attend(api.AttentionRequest{MuteSeconds: 3600})
	until(t, "it is muted", func() bool { return known("vision").Attention[0].MutedUntil != nil })
	attend(api.AttentionRequest{})
	until(t, "both are taken back", func() bool {
		f := known("vision").Attention[0]
		return f.MutedUntil == nil && !f.Acknowledged
	})
	for _, bad := range []float64{-1, 1e12} {
		f := h.Finding(rec.ID, "disk-full:/")[rec.ID]
		require.ErrorIs(t, w.Attend(t.Context(), "vision", f, api.AttentionRequest{MuteSeconds: bad}),
			&api.Error{Code: api.CodeUsage})
	}
	require.Empty(t, h.Finding(rec.ID, "nothing"))
}

// A disk of this host is seen by the agent of each instance on it: it is one finding.
func TestADiskOfThisHostIsOneFinding(t *testing.T) {
	a := newAgents(t)
	since := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	full := func(d time.Duration) gpu.Summary { // each agent sees it at another moment
		return gpu.Summary{Attention: []gpu.Finding{{ID: "disk-full:/", Rule: "disk-full", Severity: "warning", Subject: "/",
			Text: "91% full", Advice: "free space", Since: since.Add(d)}}}
	}
	a.set(func() {
		a.summary["one"], a.summary["two"], a.summary["three"] = full(0), full(time.Second), gpu.Summary{}
	})
	var mu sync.Mutex
	hooked := 0
	h, w := open(t, a, func(context.Context, *api.Instance, *api.Attention) {
		mu.Lock()
		defer mu.Unlock()
		hooked++
	}, "one", "two", "three")
	calls := func() int { mu.Lock(); defer mu.Unlock(); return hooked }
	known, _ := watch(t, h, w, time.Second)
	ids := map[string]string{}
	about := func(name string) string {
		rec, err := w.Record(name)
		require.NoError(t, err)
		ids[name] = rec.ID
		if found := known(name).Attention; len(found) > 0 {
			return found[0].About(rec.ID)
		}
		return ""
	}
	until(t, "both find it", func() bool { return about("one") != "" && about("one") == about("two") })
	require.Empty(t, about("three"))
	found := h.Finding(ids["one"], "disk-full:/")
	require.Len(t, found, 2)
	require.Contains(t, found, ids["two"])
	until(t, "what the hook is called for is noted of both", func() bool {
		one, err1 := w.Record("one")
		two, err2 := w.Record("two")
		return err1 == nil && err2 == nil && len(one.Told) == 1 && len(two.Told) == 1
	})
	require.Equal(t, 1, calls(), "the hook is called once")

	// What is said of one counts for the other, and for one that finds it later.
	require.NoError(t, w.Attend(t.Context(), "one", found[ids["one"]], api.AttentionRequest{Acknowledge: true}))
	h.Again(ids["one"])
	until(t, "it is acknowledged", func() bool {
		return known("one").Attention[0].Acknowledged && known("two").Attention[0].Acknowledged
	})
	a.set(func() { a.summary["three"] = full(2 * time.Second) })
	until(t, "the third finds it", func() bool { return about("three") == about("one") })
	require.True(t, known("three").Attention[0].Acknowledged)
	require.NoError(t, w.Attend(t.Context(), "one", found[ids["one"]], api.AttentionRequest{MuteSeconds: 60}))
	h.Again(ids["one"])
	until(t, "it is muted", func() bool { return known("three").Attention[0].MutedUntil != nil })
	require.NoError(t, w.Attend(t.Context(), "one", found[ids["one"]], api.AttentionRequest{}))
	h.Again(ids["one"])
	until(t, "it is back", func() bool {
		f := known("three").Attention[0]
		return f.MutedUntil == nil && !f.Acknowledged
	})
}

func TestWhatOnlyTheWorkspaceFinds(t *testing.T) {
	now := time.Now()
	h := New(Options{Workspace: records{}, Now: func() time.Time { return now }})
	x := &host{in: api.Instance{Name: "vision", State: api.StateRunning, RunningUSDPerHour: ptr(3.06)},
		last: &gpu.Summary{At: now, GPUs: make([]gpu.GPUSummary, 8), GPUIdleSince: ptr(now.Add(-95 * time.Minute))}}
	h.find(x)
	require.Len(t, x.found, 1)
	require.Equal(t, "gpu-idle", x.found[0].Rule)
	require.Equal(t, "its 8 GPUs have done nothing for 1 h 35 min, at $3.06 an hour", x.found[0].Text)
	for _, change := range []func(){
		func() { x.in.RunningUSDPerHour = ptr(0.0) }, func() { x.in.RunningUSDPerHour = nil },
		func() { x.last.GPUIdleSince = ptr(now.Add(-time.Minute)) },
		func() { x.last.GPUIdleSince = nil }, func() { x.in.State = api.StateStopped },
	} {
		x.in.State, x.in.RunningUSDPerHour, x.last.GPUIdleSince = api.StateRunning, ptr(3.06), ptr(now.Add(-95*time.Minute))
		change()
		h.find(x)
		require.Empty(t, x.found)
	}
	x.in.State, x.silent, x.why = api.StateRunning, ptr(now.Add(-30*time.Second)), "no route"
	h.find(x)
	require.Empty(t, x.found, "a moment's silence is none")
	x.silent = ptr(now.Add(-2 * time.Minute))
	h.find(x)
	require.Equal(t, "agent-silent", x.found[0].Rule)
	require.Contains(t, x.found[0].Text, "no route")
}

// records is a Workspace that knows nothing.
type records struct{ Workspace }

func (records) Record(string) (store.Instance, error) { return store.Instance{}, nil }

func TestSamples(t *testing.T) {
	a := newAgents(t)
	h, w := open(t, a, nil, "good", "lost")
	a.set(func() { a.gone["lost"] = true })
	_ = w
	got := h.Samples(t.Context(), func(string) bool { return true })
	require.Len(t, got, 2)
	for _, x := range got {
		require.Equal(t, x.Instance == "good", *x.Up)
		require.Equal(t, x.Instance == "good", x.Sample != nil)
	}
}

func TestHookIsGivenTheFinding(t *testing.T) {
	out := filepath.Join(t.TempDir(), "said")
	hook := Hook(`printf '%s|%s|%s|%s' "$BERTH_INSTANCE" "$BERTH_RULE" "$BERTH_SEVERITY" "$BERTH_TEXT" >`+out,
		slog.New(slog.DiscardHandler))
	hook(t.Context(), &api.Instance{Name: "vision"}, &api.Attention{Finding: gpu.Finding{Rule: "gpu-hot",
		Severity: "critical", Text: "$(id) 93 °C"}})
	b, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, "vision|gpu-hot|critical|$(id) 93 °C", string(b))
}

// BenchmarkFleet is what a line of each of 200 instances costs the hub and one watcher.
func BenchmarkFleet(b *testing.B) {
	h := New(Options{Workspace: records{}, Log: slog.New(slog.DiscardHandler)})
	w := &watcher{ready: coalesce.NewSignal()}
	h.watchers[w] = struct{}{}
	var line []byte
	s := gpu.Summary{At: time.Now(), CPU: ptr(33.3), Memory: ptr(int64(1 << 40)), MemoryUsed: ptr(int64(1 << 39)),
		Disk: "/", DiskPercent: ptr(81.0)}
	for i := range 8 {
		s.GPUs = append(s.GPUs, gpu.GPUSummary{Index: i, Utilization: ptr(97.3), MemoryUsed: ptr(int64(70 << 30)),
			MemoryTotal: ptr(int64(80 << 30)), Temperature: ptr(61.0), Power: ptr(411.2), PowerLimit: ptr(700.0), User: "ada"})
	}
	for i := range 200 {
		id := fmt.Sprintf("i-%d", i)
		x := h.newHost()
		x.in = api.Instance{ID: id, State: api.StateRunning, RunningUSDPerHour: ptr(30.0)}
		h.hosts[id] = x
	}
	line, _ = json.Marshal(s)
	b.ReportMetric(float64(len(line)), "bytes/line")
	b.ReportAllocs()
	for b.Loop() {
		for id := range h.hosts {
			var got gpu.Summary
			if err := json.Unmarshal(line, &got); err != nil {
				b.Fatal(err)
			}
			h.take(b.Context(), id, &got)
		}
		for _, f := range w.pending.Take() {
			if _, err := json.Marshal(f); err != nil {
				b.Fatal(err)
			}
		}
	}
}
