package ssh

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/transport/ssh/sshdtest"
	"berth/backend/transport/wire"
)

// world is a manager with an ssh configuration and a file of known hosts of its own.
type world struct {
	t      *testing.T
	m      *Manager
	known  string
	config string

	mu     sync.Mutex
	states []State
	agents []AgentState
}

func newWorld(t *testing.T, set ...func(*Options)) *world {
	t.Helper()
	w := &world{t: t, known: filepath.Join(t.TempDir(), "known_hosts")}
	h, err := paths.At(t.TempDir())
	require.NoError(t, err)
	o := Options{Home: h, Backoff: 20 * time.Millisecond, OnState: func(_ string, s State) {
		w.mu.Lock()
		w.states = append(w.states, s)
		w.mu.Unlock()
	}, OnAgent: func(_ string, s AgentState, _ *api.AgentInfo) {
		w.mu.Lock()
		w.agents = append(w.agents, s)
		w.mu.Unlock()
	}}
	for _, f := range set {
		f(&o)
	}
	w.m = NewManager(o)
	t.Cleanup(w.m.Close)
	return w
}

// hosts writes the ssh configuration.
func (w *world) hosts(stanzas ...string) *world {
	w.config = sshdtest.Config(w.t, stanzas...)
	return w
}

// trust puts servers into the known hosts.
func (w *world) trust(servers ...*sshdtest.Server) *world {
	f, err := os.OpenFile(w.known, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(w.t, err)
	defer f.Close()
	for _, s := range servers {
		_, err := f.WriteString(s.KnownHosts())
		require.NoError(w.t, err)
	}
	return w
}

// reach puts a server into the known hosts, and into the ssh configuration as "box".
func (w *world) reach(s *sshdtest.Server) *world {
	return w.trust(s).hosts(s.Stanza("box", w.known))
}

// asked counts questions and answers them.
type asked struct {
	mu      sync.Mutex
	answers []string // in turn; the last one again and again; none: nobody is there
	got     []api.Question
}

func (a *asked) ask(_ context.Context, q api.Question) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got = append(a.got, q)
	if len(a.answers) == 0 {
		return "", api.Errorf(api.CodeNoAnswer, "nobody")
	}
	n := min(len(a.got), len(a.answers)) - 1
	return a.answers[n], nil
}

func (a *asked) questions() []api.Question {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]api.Question(nil), a.got...)
}

// ctx is a caller's context: with the world's ssh configuration, without the tester's own ssh-agent.
func (w *world) ctx(a *asked, env ...string) context.Context {
	c := &backend.Caller{Principal: backend.Principal{ID: "local:1", Name: "tester"}, Env: map[string]string{"BERTH_SSH_CONFIG": w.config, "SSH_AUTH_SOCK": ""}}
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		c.Env[k] = v
	}
	if a != nil {
		c.Ask = a.ask
	}
	ctx, cancel := context.WithTimeout(backend.WithCaller(context.Background(), c), 2*time.Minute)
	w.t.Cleanup(cancel)
	return ctx
}

func (w *world) conn(ctx context.Context, host string) *Conn {
	w.t.Helper()
	c, err := w.m.Conn(ctx, "i-"+host, backend.SSHTarget{Host: host})
	require.NoError(w.t, err)
	return c
}

// box is a server, a world that reaches it, a context there and a connection to it.
func box(t *testing.T, o sshdtest.Options, set ...func(*Options)) (*sshdtest.Server, *world, context.Context, *Conn) {
	t.Helper()
	s := sshdtest.Start(t, o)
	w := newWorld(t, set...).reach(s)
	ctx := w.ctx(nil)
	return s, w, ctx, w.conn(ctx, "box")
}

func (w *world) phases() []Phase {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Phase
	for _, s := range w.states {
		if len(out) == 0 || out[len(out)-1] != s.Phase {
			out = append(out, s.Phase)
		}
	}
	return out
}

func stanzaFor(s *sshdtest.Server, w *world, alias string, port int, more ...string) string {
	return strings.Replace(s.Stanza(alias, w.known, more...), fmt.Sprint("Port ", s.Port), fmt.Sprint("Port ", port), 1)
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

// poll repeats f until it succeeds, or it takes too long.
func poll(f func() error) error {
	deadline := time.Now().Add(2 * time.Minute)
	for {
		err := f()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// eventually polls until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// result is what a command did.
type result struct {
	status    wire.ExitStatus
	err       error
	out, err2 string
}

// stream connects a server function to a client's stream over a socket pair.
func stream(t testing.TB, serve func(s *api.Stream)) *api.Stream {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	defer l.Close()
	client, err := net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	server, err := l.Accept()
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		serve(api.NewStream(server, nil))
	}()
	t.Cleanup(func() { _ = client.Close(); <-done })
	return api.NewStream(client, nil)
}

// plain runs a command over plain SSH.
func plain(t testing.TB, ctx context.Context, c *Conn, req api.ExecRequest, stdin string) result {
	t.Helper()
	s := stream(t, func(s *api.Stream) { c.ServeExec(ctx, s, req) })
	var out, err2 bytes.Buffer
	sio := api.StreamIO{Stdout: &out, Stderr: &err2}
	if stdin != "" {
		sio.Stdin = strings.NewReader(stdin)
	}
	st, err := s.Run(ctx, sio)
	return result{st, err, out.String(), err2.String()}
}

func code(t *testing.T, err error) api.Code {
	t.Helper()
	require.Error(t, err)
	e := api.AsError(err)
	require.NotEmpty(t, e.Hint, "an error says what to do next: %v", err)
	return e.Code
}
