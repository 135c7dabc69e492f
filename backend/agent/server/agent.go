package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"berth/backend/agent/login"
	"berth/backend/agent/part"
	"berth/backend/agent/user"
	"berth/backend/api"
	"berth/backend/base/flock"
	"berth/backend/base/version"
	"berth/gpu/procs/proc"
)

// Config is what an agent is made of.
type Config struct {
	part.Options
	// Parts make the agent's parts, in the order in which they start. They stop in the reverse order.
	Parts []func(*part.Host) part.Part
	// Takeover asks an agent that runs already to hand over.
	Takeover bool
	Log      *slog.Logger
	// Version is this build's, unless a test plays another one.
	Version version.Version
	// Shim finds the small program of shims; "" where this program plays them. nil: the embedded one.
	Shim func() string
}

// Agent is one running agent. New makes it ready, Serve runs it.
type Agent struct {
	c       Config
	host    part.Host
	started time.Time
	facts   facts
	shim    func() string
	parts   []*running
	events  *events
	login   *login.Login
	srv     *http.Server

	ctx    context.Context // ends when streams are to end
	cancel context.CancelFunc
	quit   chan struct{} // closed when the agent is to leave
	once   sync.Once

	mu       sync.Mutex
	lockFile *os.File
	lis      *guard
	draining bool           // a newer agent has taken over
	gone     bool           // socket and lock are another one's, or nobody's
	closed   bool           // no stream may begin
	streams  sync.WaitGroup // execs and attached terminals; Add under mu
	serving  sync.WaitGroup // those that accept connections; Add under mu

	homes      homes
	unanswered unanswered
	conns      chan struct{} // slots for connections
	grace      atomic.Int64  // nanoseconds that a command has after its client hung up
	activity   atomic.Int64  // Unix nanoseconds of the last input or output
}

const (
	// hangupGrace is how long a command has to end after its client hung up.
	hangupGrace = 5 * time.Second
	// stopGrace is the time between asking and forcing when all is ended, where none is given.
	stopGrace = 5 * time.Second
)

// ErrRunning is returned where an agent of this state folder runs already.
var ErrRunning = errors.New("an agent of this state folder runs already")

// New prepares an agent: folders, lock, socket, parts. ErrRunning is returned where one runs and is not to be
// replaced.
func New(ctx context.Context, c Config) (_ *Agent, err error) {
	if c.Shell == "" {
		c.Shell = user.Shell()
	}
	if c.Version == (version.Version{}) {
		c.Version = version.Current()
	}
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return nil, fmt.Errorf("making the agent's folder: %w", err)
	}
	if err := os.MkdirAll(c.Scratch, 0o700); err != nil {
		c.Log.Warn("the scratch folder can't be made", "path", c.Scratch, "err", err)
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	a := &Agent{c: c, started: time.Now().UTC(), quit: make(chan struct{}), conns: make(chan struct{}, maxConns),
		facts: newFacts(), events: newEvents()}
	a.grace.Store(int64(hangupGrace))
	if a.shim = c.Shim; a.shim == nil {
		a.shim = sync.OnceValue(a.embeddedShim)
	}
	a.host = part.Host{Options: c.Options, Exe: exe, Hostname: a.facts.host,
		Base: login.Base(c.Options, os.Environ()), Log: c.Log}
	if err := a.takeLock(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = a.lockFile.Close()
		}
	}()
	if a.lis == nil {
		l, err := listen(c.Socket)
		if err != nil {
			return nil, err
		}
		a.lis = a.guarded(l)
	}
	self, err := proc.Self()
	if err == nil {
		err = writeRecord(c.Options, Record{Identity: self, Socket: c.Socket, Version: c.Version.Number,
			Built: c.Version.Built, Exe: exe})
		if diskTakesNothing(err) {
			// Who looks for an agent by its record does not find this one. It serves all the same: it is what mends the disk.
			c.Log.Error("the agent's record can't be written", "err", err)
			err = nil
		}
	}
	if err != nil {
		_ = a.lis.Close()
		return nil, fmt.Errorf("writing the agent's record: %w", err)
	}
	a.loadHomes()
	a.ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, newPart := range c.Parts {
		a.parts = append(a.parts, a.newRunning(newPart))
	}
	return a, nil
}

// takeLock takes the lock; from an older agent also its socket, if that gives it.
func (a *Agent) takeLock(ctx context.Context) error {
	f, err := flock.Open(a.c.LockPath())
	if errors.Is(err, flock.ErrHeld) {
		if !a.c.Takeover {
			return ErrRunning
		}
		var l *net.UnixListener
		if f, l, err = takeOver(ctx, a.c.Socket, a.c.Version); err != nil {
			return fmt.Errorf("asking the older agent to hand over: %w", err)
		}
		if l != nil {
			a.lis = a.guarded(l)
		} else {
			f, err = flock.OpenWithin(ctx, a.c.LockPath(), 10*time.Second)
		}
	}
	if err != nil {
		return fmt.Errorf("the agent's lock: %w", err)
	}
	a.lockFile = f
	return nil
}

func (a *Agent) guarded(l *net.UnixListener) *guard {
	return &guard{UnixListener: l, uid: os.Getuid(), slots: a.conns, note: func(uid int) {
		a.c.Log.Warn("another user tried the agent's socket and was refused", "uid", uid)
	}}
}

// Serve serves until the agent is told to stop, or has handed over and its last stream has ended.
func (a *Agent) Serve() error {
	a.login = login.New(a.ctx, a.c.Options, a.host.Base, a.host.Exe)
	for _, p := range a.parts {
		p.start(a.ctx)
	}
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	a.srv = &http.Server{Handler: a.lastAnswers(a.noteHomes(api.Mux(a.routes(), api.OwnSocket))), Protocols: p,
		ReadHeaderTimeout: 30 * time.Second, MaxHeaderBytes: 1 << 20,
		ConnState: a.unanswered.note, ErrorLog: slog.NewLogLogger(a.c.Log.Handler(), slog.LevelWarn)}
	a.events.add("agent.started", "info", "the agent started")
	a.mu.Lock()
	a.serveOn(a.lis)
	a.mu.Unlock()
	homesKept := a.keepHomes()
	<-a.quit
	homesKept()

	a.mu.Lock()
	handed := a.draining
	a.mu.Unlock()
	if !handed {
		a.letGo(true)
		a.stopParts()
	}
	a.events.close()
	a.finishAnswers()
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	if !handed {
		a.cancel()
	}
	a.streams.Wait()
	if handed {
		a.stopParts()
	}
	a.cancel()
	a.login.Await(context.Background())
	return nil
}

// serveOn serves a socket until it is closed; a.mu is held.
func (a *Agent) serveOn(l *guard) {
	a.serving.Go(func() {
		err := a.srv.Serve(l)
		if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
			return
		}
		a.c.Log.Error("the agent's socket failed", "err", err)
		a.leave()
	})
}

// letGo gives up the socket and the lock. A newer agent may then have both.
func (a *Agent) letGo(removeRecord bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone = true
	if removeRecord {
		_ = os.Remove(a.c.RecordPath())
	}
	_ = os.Remove(a.c.Socket) // as long as the lock is ours: then it may be the next agent's
	a.lis.retire()
	_ = a.lockFile.Close()
}

// letGoShared gives up the socket and the lock that a newer agent has, too. Who connects is the newer one's.
func (a *Agent) letGoShared() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone = true
	a.lis.SetUnlinkOnClose(false)
	_ = a.lis.Close()
	_ = a.lockFile.Close()
}

// stopping reports whether the agent is leaving and no newer one has taken over: it begins nothing then. a.mu is held.
func (a *Agent) stopping() bool {
	select {
	case <-a.quit:
		return !a.draining
	default:
		return false
	}
}

// leave makes Serve return.
func (a *Agent) leave() { a.once.Do(func() { close(a.quit) }) }

// Signal handles a signal to the agent's process: SIGUSR1 makes the socket again, which a cleaner of
// /tmp may have removed; others end the agent, not what it supervises.
func (a *Agent) Signal(s os.Signal) {
	switch s {
	case syscall.SIGUSR1:
		if err := a.relisten(); err != nil {
			a.c.Log.Error("making the socket again failed", "err", err)
		}
	case syscall.SIGTERM, syscall.SIGINT:
		a.leave()
	}
}

func (a *Agent) relisten() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining || a.gone {
		return nil
	}
	a.lis.SetUnlinkOnClose(false)
	l, err := listen(a.c.Socket)
	if err != nil {
		return err
	}
	old := a.lis
	a.lis = a.guarded(l)
	a.serveOn(a.lis)
	old.retire()
	return nil
}

// endStreams ends what is attached and lets nothing new begin.
func (a *Agent) endStreams() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.cancel()
}
