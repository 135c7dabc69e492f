package workspace

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/mem"
)

// secret marks what must be kept nowhere.
const secret = "s3cr3t"

// shell is somebody's terminal: an environment, and an account that it signs in to.
type shell struct {
	name, account string
	env           map[string]string
}

func newShell(name, account string) *shell {
	return &shell{name, account, map[string]string{"AWS_PROFILE": name, "AWS_SECRET_ACCESS_KEY": secret + "-of-" + name,
		"AWS_SESSION_TOKEN": secret + name, "SSH_AUTH_SOCK": "/agent/of/" + name, "PATH": "/bin:/of/" + name,
		"HTTPS_PROXY": "http://" + name + ":" + secret + "@proxy:3128"}}
}

// ctx is that of one of the shell's calls, as the daemon makes it.
func (s *shell) ctx(w *Workspace) context.Context {
	ctx := backend.WithCaller(context.Background(), &backend.Caller{Env: s.env,
		Principal: backend.Principal{ID: "local:1", Name: "me", Kind: backend.PrincipalLocal}})
	w.Called(ctx)
	return ctx
}

// kept is what of the shell's environment may be used when its call is over.
func (s *shell) kept() map[string]string { return backend.Selectors(s.env) }

// world is two shells at one daemon, whose provider and lines take note of whose environment they are called with.
type world struct {
	*env
	shells []*shell
	daemon map[string]string // the environment that the daemon was started in
	log    *lockedBuffer

	mu     sync.Mutex
	wrong  []string // what must not have been
	clock  time.Time
	opened *Workspace
}

// lockedBuffer is a log.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func newWorld(t *testing.T, lines *testLines, keys bool) *world {
	b := mem.New()
	b.Line = backend.Line{Socket: "/somewhere"}
	w := &world{env: &env{t: t, path: filepath.Join(t.TempDir(), "x.db"), mem: b, lines: lines},
		shells: []*shell{newShell("a", "111"), newShell("b", "222")}, log: &lockedBuffer{}, clock: time.Now(),
		daemon: map[string]string{"AWS_PROFILE": "nobody", "AWS_SECRET_ACCESS_KEY": secret, "PATH": "/sbin"}}
	b.Accounts = map[string]mem.Account{}
	for _, s := range w.shells {
		a := mem.Account{ID: s.account}
		if keys {
			a.Key = s.env["AWS_SECRET_ACCESS_KEY"]
		}
		b.Accounts[s.name] = a
	}
	b.Hook = func(ctx context.Context, method string) error {
		w.whose(ctx, method)
		return nil
	}
	b.Now = w.now
	w.env.opts = func(o *Options) {
		o.Dialer, o.Env, o.Now = dialers{w, w.lines}, w.daemon, w.now
		o.Log = slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return w
}

// now is the simulated time, which each look at it moves on.
func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(time.Millisecond)
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func (w *world) fail(format string, a ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, fmt.Sprintf(format, a...))
}

// whose finds the shell whose environment, or what may be kept of it, a call carries as it is. nil: the daemon's.
func (w *world) whose(ctx context.Context, what string) *shell {
	env := backend.CallerFrom(ctx).Env
	for _, s := range w.shells {
		if maps.Equal(env, s.env) || maps.Equal(env, s.kept()) {
			return s
		}
	}
	if !maps.Equal(env, backend.Selectors(w.daemon)) {
		w.fail("%s carries a mixture: %v", what, env)
	}
	return nil
}

// dialers let those in who have the ssh-agent of the shell that made an instance.
type dialers struct {
	w *world
	*testLines
}

func (d dialers) Agent(ctx context.Context, to backend.Endpoint) (net.Conn, error) {
	s := d.w.whose(ctx, "a line to "+to.Name)
	if s == nil || s.name != to.Name[:1] {
		return nil, api.Errorf(api.CodeAuth, "%s does not let this agent in", to.Name)
	}
	return d.testLines.Agent(ctx, to)
}

// do is one deed of a shell. Names begin with that of the shell that makes them.
func (w *world) do(s *shell, d deed) (op api.Operation) {
	ctx := s.ctx(w.opened)
	own := d.Name[:1] == s.name
	var err error
	switch d.Kind {
	case "ls":
		w.opened.Reconciler.Fresh(ctx)
		w.looks(s.name + " ls")
		return op
	case "show", "refresh":
		var in api.Instance
		if d.Kind == "show" {
			w.opened.Reconciler.Fresh(ctx)
			in, err = w.opened.Reconciler.Show(ctx, d.Name)
		} else {
			in, err = w.opened.Reconciler.Refresh(ctx, d.Name)
		}
		if err == nil {
			w.isThere(s.name+" "+d.Kind, &in)
		}
	case "exec":
		rec, rerr := w.opened.Record(d.Name)
		if rerr != nil || rec.State != api.StateRunning || !own {
			return op
		}
		c := w.opened.AgentClient(rec)
		defer c.Close()
		_, err = c.Info(ctx)
	case "create":
		if !own {
			return op
		}
		op, err = w.opened.Create(ctx, api.CreateRequest{Name: d.Name})
	default:
		op, err = w.opened.Action(ctx, d.Name, d.Kind, api.ActionRequest{})
		if !own && err == nil {
			w.fail("%s may %s %s", s.name, d.Kind, d.Name)
		}
	}
	if err == nil {
		return op
	}
	switch code := api.AsError(err).Code; {
	case code == api.CodeNotFound, code == api.CodeConflict: // by what it did before
	case code == api.CodeForbidden && !own:
	default:
		w.fail("%s %s %s: %v", s.name, d.Kind, d.Name, err)
	}
	return op
}

// looks checks the whole fleet as it is shown.
func (w *world) looks(when string) {
	for _, in := range w.opened.Instances(context.Background(), api.ListOptions{}) {
		w.isThere(when, &in)
	}
}

func (w *world) isThere(when string, in *api.Instance) {
	want := map[string]string{"a": "111", "b": "222"}[in.Name[:1]]
	switch {
	case in.State == api.StateUnknown, in.State == api.StateUnusable, in.State == api.StateCreateFailed:
		w.fail("%s: %s is %s: %s", when, in.Name, in.State, in.StateReason)
	case in.Account != want:
		w.fail("%s: %s is in the account %q", when, in.Name, in.Account)
	}
}

// fewChecks has a test of many slow checks make n of them, unless the long form is asked for.
func fewChecks(t *testing.T, n int) {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	if f == nil || f.Value.String() != f.DefValue || os.Getenv("BERTH_CHAOS") != "" {
		return
	}
	require.NoError(t, flag.Set(f.Name, strconv.Itoa(n)))
	t.Cleanup(func() { require.NoError(t, flag.Set(f.Name, f.DefValue)) })
}

// TestTwoShellsKeepToThemselves lets two shells, each with an account, credentials and an ssh-agent of its own, do
// anything for an hour with one daemon, which is ended now and then, while the background looks at everything. Neither
// ever sees the other's machines as gone, changes them, or fails by the other's environment; what reaches the provider
// or a line is one's own environment, or what may be kept of it, and no secret is kept.
func TestTwoShellsKeepToThemselves(t *testing.T) {
	fewChecks(t, 25)
	lines := newLines(t)
	kinds := []string{"create", "create", "ls", "ls", "show", "refresh", "exec", "start", "stop", "restart", "delete"}
	type awaited struct {
		deed
		Wait bool // until it has ended
	}
	one := rapid.Custom(func(rt *rapid.T) awaited {
		return awaited{deed{rapid.SampledFrom(kinds).Draw(rt, "kind"), rapid.SampledFrom([]string{"a-1", "a-2", "b-1", "b-2"}).
			Draw(rt, "name")}, rapid.IntRange(0, 3).Draw(rt, "wait") > 0}
	})
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, lines, rapid.Bool().Draw(rt, "the provider wants the secrets"))
		w.mem.Delay = time.Duration(rapid.IntRange(0, 3).Draw(rt, "delay in ms")) * time.Millisecond
		phases := rapid.SliceOfN(rapid.SliceOfN(rapid.SliceOfN(one, 0, 6), 2, 2), 1, 3).Draw(rt, "phases")
		watches := rapid.Bool().Draw(rt, "the first watches")
		var mu sync.Mutex
		asked := map[string]*shell{}
		done := func() {}
		for _, phase := range append(phases, nil) {
			done()
			w.opened, done = w.open()
			w.pass(20 * time.Minute)
			ctx, cancel := context.WithCancel(context.Background())
			var wg, background sync.WaitGroup
			leave := func() {}
			if watches {
				leave = w.opened.Reconciler.Watch(w.shells[0].ctx(w.opened))
			}
			round := func() {
				w.opened.Reconciler.Reconcile(ctx)
				w.opened.probeAll(w.opened.background(ctx), "mem")
				w.looks("the background")
			}
			background.Go(func() {
				for ctx.Err() == nil {
					round()
				}
			})
			for i, deeds := range phase {
				wg.Go(func() {
					for _, d := range deeds {
						w.pass(time.Minute)
						op := w.do(w.shells[i], d.deed)
						if op.ID == "" {
							continue
						}
						mu.Lock()
						asked[op.ID] = w.shells[i]
						mu.Unlock()
						if d.Wait {
							w.endedFor(rt, w.shells[i], op.ID)
						}
					}
				})
			}
			wg.Wait()
			round()
			cancel()
			background.Wait()
			leave()
		}
		defer func() { done() }()

		for id, s := range asked {
			op := w.endedFor(rt, s, id)
			if op.State == api.OpFailed {
				rt.Fatalf("%s of %s, which %s asked for, failed: %v", op.Kind, op.Instance, s.name, op.Error)
			}
		}
		for _, s := range w.shells {
			w.opened.Reconciler.Reconcile(s.ctx(w.opened))
		}
		w.looks("at last")
		for _, in := range w.opened.Instances(context.Background(), api.ListOptions{}) {
			s := w.shells[in.Name[0]-'a']
			op, err := w.opened.Action(s.ctx(w.opened), in.ID, "delete", api.ActionRequest{})
			if err != nil {
				rt.Fatalf("deleting %s: %v", in.Name, err)
			}
			if op = w.endedFor(rt, s, op.ID); op.State != api.OpSucceeded {
				rt.Fatalf("deleting %s: %v", in.Name, op.Error)
			}
		}
		if n := w.mem.Len(); n != 0 {
			rt.Fatalf("%d machines are left", n)
		}
		w.mu.Lock()
		wrong := append(w.wrong, mem.Violations(w.mem)...)
		w.mu.Unlock()
		if len(wrong) > 0 {
			rt.Fatalf("%d things that must not be, such as: %s", len(wrong), wrong[0])
		}
		w.nothingSecret(rt)
	})
}

// endedFor waits for an operation, while the shell that asked for it goes on calling.
func (w *world) endedFor(rt *rapid.T, s *shell, id string) api.Operation {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for w.opened.operations.Get(id) != nil {
		if ctx.Err() != nil {
			rt.Fatalf("%s does not end: %+v", id, w.opened.operations.Get(id).Snapshot())
		}
		s.ctx(w.opened)
		wctx, cancel := context.WithTimeout(ctx, time.Millisecond)
		_ = w.opened.operations.Wait(wctx, id) // it is looked again
		cancel()
	}
	op, err := w.opened.Operation(ctx, id)
	if err != nil {
		rt.Fatalf("%s: %v", id, err)
	}
	return op
}

// nothingSecret looks for secrets in the store, the log, and what clients are told.
func (w *world) nothingSecret(rt *rapid.T) {
	files, err := filepath.Glob(w.path + "*")
	require.NoError(rt, err)
	require.NotEmpty(rt, files)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(rt, err)
		if bytes.Contains(b, []byte(secret)) {
			rt.Fatalf("a secret is in %s", filepath.Base(f))
		}
	}
	evs, err := w.opened.Events(context.Background(), api.EventOptions{})
	require.NoError(rt, err)
	all := w.opened.Instances(context.Background(), api.ListOptions{})
	said, err := json.Marshal([]any{evs, all, w.opened.Operations()})
	require.NoError(rt, err)
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if bytes.Contains(append(said, w.log.Bytes()...), []byte(secret)) {
		rt.Fatalf("a secret is said")
	}
}
