package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/atomicfile"
	"berth/backend/base/paths"
	"berth/backend/base/version"
	"berth/backend/service/daemon/connect"
	"berth/backend/service/store"
	"berth/backend/service/telemetry"
	"berth/backend/service/workspace"
)

// Config is what a daemon runs with.
type Config struct {
	Home         paths.Home
	Idle         time.Duration                // ends after so long without a client or work; 0: never
	Settings     map[string]map[string]string // backend name → its section of the configuration
	Service      string                       // identifies the part of the configuration that this daemon works by
	Defaults     workspace.Defaults
	Fault        func(point string)
	Limits       workspace.Limits // zero fields take the defaults
	AnswerWithin time.Duration    // how long a question waits for its answer; 0: 2 min
	// Hook is a command line of sh that is run for what newly wants attention; empty: none.
	Hook string
	// Policy is workspace.Options.Policy.
	Policy workspace.Policy
	// Engine is workspace.Options.Engine.
	Engine func(goos, goarch string) ([]byte, bool)
	// Profiles is workspace.Options.Profiles.
	Profiles func(names []string, arch string) (api.SetupPlan, error)
	Env      map[string]string // environment of background work until a client has called
	Log      *slog.Logger
	// NewDialer makes the ways to the instances; state is to be told of their changes.
	NewDialer func(state func(id string, up bool, st *api.AgentStatus)) Dialer
	Ready     func() // called once when the socket answers
}

// Dialer is what the daemon needs of what reaches instances.
type Dialer interface {
	workspace.Dialer
	// ServePlain serves a stream of an instance that has no agent: a command, a terminal, a forward.
	ServePlain(ctx context.Context, to backend.Endpoint, path string, s *api.Stream) error
	// OpenBackend opens a registered backend.
	OpenBackend(env backend.Env, name string) (backend.Backend, error)
	// Keep ends the connections to all instances but those whose ids keep names, and makes none anew that is lost:
	// another daemon does that.
	Keep(keep func(id string) bool)
	Close()
}

// restAfter is how long after the start, or after a stream, memory that is no longer needed is given back:
// loading the store and carrying bytes take much more of it than resting does.
const restAfter = 3 * time.Second

// Server is a running daemon.
type Server struct {
	cfg       Config
	ws        *workspace.Workspace
	fleet     *telemetry.Hub
	workspace atomic.Pointer[workspace.Workspace] // for the lines, which begin before there is one
	dialer    Dialer
	store     *store.SQLite
	questions *questions
	started   time.Time
	active    atomic.Int64      // requests under way
	lastAsked atomic.Int64      // unix nanoseconds
	person    backend.Principal // whose workspace it is
	failed    map[string]error  // backends that could not be opened
	streams   *carried
	rest      *time.Timer // gives memory back when it has been quiet for a while

	// ctx is of the process and of its byte streams. serving, of all else, ends before it at a hand-over; asked, of the
	// calls that came before, a moment later.
	ctx, serving, asked   context.Context
	stop, yield, endCalls context.CancelFunc
	calls                 atomic.Int64 // requests under way that are no byte streams

	handedTo   atomic.Pointer[version.Version]
	socketGone <-chan os.Signal
	leaving    sync.Once
}

// Serve runs the daemon until ctx ends, it is told to stop, or it has been idle long enough; one that has handed over
// to a newer one, until its byte streams have ended. It returns errRunning's error where the home has one already.
func Serve(ctx context.Context, cfg Config) error {
	h := cfg.Home
	if err := h.Prepare(); err != nil {
		return connect.StoreError(err, h)
	}
	socketGone := onSignal()
	lk, err := lock(ctx, h)
	if err != nil {
		return err
	}
	s := &Server{cfg: cfg, questions: newQuestions(cfg.AnswerWithin), started: time.Now(), person: person(),
		failed: map[string]error{}, streams: newCarried(), socketGone: socketGone}
	s.ctx, s.stop = context.WithCancel(ctx)
	defer s.stop()
	s.serving, s.yield = context.WithCancel(s.ctx)
	defer s.yield()
	s.asked, s.endCalls = context.WithCancel(s.ctx)
	defer s.endCalls()
	s.touch()
	defer runtime.KeepAlive(collectLess())
	s.rest = time.AfterFunc(restAfter, debug.FreeOSMemory)
	defer s.rest.Stop()
	s.dialer = cfg.NewDialer(func(id string, up bool, st *api.AgentStatus) {
		if ws := s.workspace.Load(); ws != nil {
			ws.LineState(id, up, st)
		}
	})
	defer s.dialer.Close()
	srv, err := s.own()
	_ = lk.Close() // and with it the lock: the next daemon may begin
	s.endStreams()
	if srv != nil {
		_ = srv.Close()
	}
	if err == nil {
		cfg.Log.Info("ended", "pid", os.Getpid())
	}
	return err
}

// own serves the home until serving ends, and then gives up all that the next daemon needs but the lock. The server
// that it returns, if any, has requests left that became byte streams, or do so yet.
func (s *Server) own() (srv *http.Server, err error) {
	h, cfg := s.cfg.Home, s.cfg
	if s.store, err = store.Open(s.serving, h.Store()); err != nil {
		return nil, err
	}
	defer func() {
		if cerr := s.store.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("closing the store: %w", cerr)
		}
	}()
	homeID, err := workspace.HomeID(s.serving, s.store)
	if err != nil {
		return nil, err
	}
	backends := s.openBackends(homeID)
	defer closeBackends(backends)
	s.ws, err = workspace.Open(s.serving, workspace.Options{Store: s.store, Backends: backends, Dialer: s.dialer,
		Log: cfg.Log, Fault: cfg.Fault, Defaults: cfg.Defaults, Env: cfg.Env, Failed: s.failed, KeyPath: h.Key(),
		Policy: cfg.Policy, Person: s.person, Parcels: filepath.Join(h.State, "outbox"),
		Profiles: cfg.Profiles, Engine: cfg.Engine, Limits: cfg.Limits})
	if err != nil {
		return nil, err
	}
	s.workspace.Store(s.ws)
	hub := telemetry.Options{Workspace: s.ws, Log: cfg.Log,
		Jobs: func(id string, n api.JobCounts) { workspace.JobsAre(s.ws, id, n) }}
	if cfg.Hook != "" {
		hub.Hook = telemetry.Hook(cfg.Hook, cfg.Log)
	}
	s.fleet = telemetry.New(hub)
	defer s.fleet.Close()
	debug.FreeOSMemory()
	defer s.ws.Close()
	l, err := listen(h)
	if err != nil {
		return nil, err
	}
	return s.serve(l)
}

// shutdownLimit is how long requests under way have to end with the daemon.
const shutdownLimit = 2 * time.Second

func (s *Server) serve(l *net.UnixListener) (*http.Server, error) {
	log := s.cfg.Log
	srv := &http.Server{
		Handler:     s.counted(api.Mux(s.Routes(), s.gate)),
		BaseContext: func(net.Listener) context.Context { return s.ctx },
		ConnContext: s.withPrincipal,
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		Protocols:   new(http.Protocols),
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	if err := s.writeNote(); err != nil {
		_ = l.Close()
		return nil, err
	}
	// Clients wait in the socket's backlog until what the last daemon left is under way again.
	if err := s.ws.Resume(s.serving); err != nil {
		_ = l.Close()
		return nil, err
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(s.guarded(l)) }()
	var wg sync.WaitGroup
	wg.Go(func() { s.ws.Reconciler.Run(s.serving) })
	wg.Go(func() { s.endWhenIdle(s.serving) })
	log.Info("serving", "home", s.cfg.Home.Root, "pid", os.Getpid(), "instances", s.ws.Len())
	if s.cfg.Ready != nil {
		s.cfg.Ready()
	}
	var err error
	for serving := true; serving; {
		select {
		case err = <-served:
			serving = false
		case <-s.serving.Done():
			serving = false
		case <-s.socketGone:
			s.relisten(srv)
		}
	}
	s.makeWay()
	s.letCallsEnd()
	_ = os.Remove(s.cfg.Home.Run) // stays while an agent's socket is in it
	s.fleet.Close()
	s.ws.Close() // ends streams of changes; unfinished operations stay in the store
	sctx, cancel := context.WithTimeout(context.Background(), shutdownLimit)
	defer cancel()
	if srv.Shutdown(sctx) != nil && s.handedTo.Load() == nil {
		_ = srv.Close()
	}
	wg.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return srv, err
}

func (s *Server) writeNote() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	b, err := json.Marshal(connect.Note{Version: version.Current(), Capability: version.Capability, Program: exe,
		PID: os.Getpid(), Service: s.cfg.Service})
	if err != nil {
		return err
	}
	return atomicfile.Replace(connect.NotePath(s.cfg.Home), b, 0o600)
}

// openBackends opens every registered backend; one that can't be used is shown with its error.
func (s *Server) openBackends(homeID string) map[string]backend.Backend {
	out := map[string]backend.Backend{}
	for _, name := range backend.Registered() {
		env := backend.Env{Home: s.cfg.Home, Settings: s.cfg.Settings[name], Log: s.cfg.Log.With("backend", name),
			HomeID: homeID, Fault: s.cfg.Fault, Changed: func(id string) {
				if ws := s.workspace.Load(); ws != nil {
					ws.Reconciler.Changed(name, id)
				}
			},
			Executable: func() (string, error) { return s.cfg.Home.Program("berth") }}
		b, err := s.dialer.OpenBackend(env, name)
		if err != nil {
			s.failed[name] = err
			s.cfg.Log.Warn("backend can't be used", "backend", name, "error", err)
			continue
		}
		out[name] = b
	}
	return out
}

// closeBackends lets those that hold connections end them.
func closeBackends(backends map[string]backend.Backend) {
	for _, b := range backends {
		if c, ok := b.(io.Closer); ok {
			_ = c.Close() // the process ends
		}
	}
}

func (s *Server) touch() { s.lastAsked.Store(time.Now().UnixNano()) }

// counted counts the requests under way and remembers when somebody last asked. All but byte streams end with asked.
func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.active.Add(1)
		s.touch()
		defer func() {
			s.touch()
			s.active.Add(-1)
		}()
		stream := r.Header.Get("Upgrade") != ""
		if !stream {
			s.calls.Add(1)
			defer s.calls.Add(-1)
		}
		if s.serving.Err() != nil {
			api.WriteError(w, errMoved)
			return
		}
		if !stream {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(s.asked, cancel)()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// end ends the daemon and its byte streams.
func (s *Server) end() {
	s.makeWay()
	s.stop()
}

// needed reports whether something needs this daemon: an operation, or a job that waits for its instance.
func (s *Server) needed() bool { return s.ws.Busy() > 0 || s.ws.Outbox.Waiting() > 0 }

// endWhenIdle ends the daemon when nobody has asked and nothing was under way for cfg.Idle. It wakes
// only when that could be so.
func (s *Server) endWhenIdle(ctx context.Context) {
	if s.cfg.Idle <= 0 {
		return
	}
	for {
		quiet := time.Since(time.Unix(0, s.lastAsked.Load()))
		busy := s.active.Load() > 0 || s.needed()
		wait := s.cfg.Idle - quiet
		if busy {
			wait = s.cfg.Idle
		} else if wait <= 0 {
			s.cfg.Log.Info("ending: idle", "for", quiet)
			s.end()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// caller returns ctx with who asks: the person, their environment, and a way to ask them.
func (s *Server) caller(r *http.Request) (context.Context, error) {
	d, err := api.ReadCaller(r)
	if err != nil {
		return nil, err
	}
	c := &backend.Caller{Principal: principalOf(r.Context()), Client: d.ClientID, Env: d.Env}
	if d.Interactive && d.ClientID != "" {
		to := asked{c.Principal.ID, c.Client}
		c.Ask = func(ctx context.Context, q api.Question) (string, error) {
			if r.Context().Err() != nil { // the call has ended; an operation goes on
				return s.questions.ask(ctx, to, q)
			}
			// The client asks the next daemon for its questions: the call is to begin again there.
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			defer context.AfterFunc(s.asked, func() { cancel(errMoved) })()
			return s.questions.ask(ctx, to, q)
		}
	}
	return backend.WithCaller(r.Context(), c), nil
}
