package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"berth/backend/agent/environ"
	"berth/backend/agent/inventory"
	"berth/backend/agent/login"
	"berth/backend/agent/process"
	"berth/backend/agent/setup"
	"berth/backend/agent/user"
	"berth/backend/api"
	"berth/backend/base/atomicfile"
	"berth/backend/base/version"
)

// Agent is one running agent. New makes it ready, Serve runs it.
type Agent struct {
	o       Options
	exe     string // this program's content-addressed copy, or whatever was started
	log     *slog.Logger
	started time.Time
	base    []string
	login   *login.Login
	facts   *facts
	events  *events
	terms   *terminals
	setups  *setup.Engine
	figures *figures

	inventory *inventory.Reader
	srv       *http.Server

	smallShim func() string // path of the embedded shim, or ""

	ctx    context.Context // ends when streams are to end
	cancel context.CancelFunc
	quit   chan struct{} // closed when the agent is to leave
	once   sync.Once

	mu       sync.Mutex
	lockFile *os.File
	lis      *guard
	draining bool           // a newer agent has taken over
	streams  sync.WaitGroup // execs and attached terminals; Add under mu

	patience patience
	conns    chan struct{} // slots for connections
	execs    atomic.Int64
	grace    atomic.Int64 // nanoseconds that a command has after its client hung up
	activity atomic.Int64 // Unix nanoseconds of the last input or output
}

// record is agent.json: who runs.
type record struct {
	process.Identity
	Socket  string    `json:"socket"`
	Version string    `json:"version"`
	Built   time.Time `json:"built"`
	Exe     string    `json:"exe"`
}

// New prepares an agent: folders, lock, records of terminals. With takeover it asks an agent that
// runs already to hand over. ErrRunning is returned where one runs and is not to be replaced.
func New(ctx context.Context, o Options, takeover bool, log *slog.Logger) (_ *Agent, err error) {
	if o.Shell == "" {
		o.Shell = user.Shell()
	}
	for _, d := range []string{o.State, terminalsDir(o)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("making the agent's folder: %w", err)
		}
	}
	if err := os.MkdirAll(o.Scratch, 0o700); err != nil {
		log.Warn("the scratch folder can't be made", "path", o.Scratch, "err", err)
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	a := &Agent{o: o, exe: exe, log: log, started: time.Now().UTC(), quit: make(chan struct{}), patience: usual, conns: make(chan struct{}, maxConns)}
	a.smallShim = sync.OnceValue(a.findSmallShim)
	a.grace.Store(int64(hangupGrace))
	a.base = login.Base(o, os.Environ())
	a.events = newEvents()
	a.facts = newFacts()
	a.inventory = inventory.NewReader(inventory.Host{Home: o.Home, Work: o.Workdir, Path: filepath.SplitList(environ.Lookup(a.base, "PATH")), Arch: runtime.GOARCH})
	if err := a.takeLock(ctx, takeover); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = a.lockFile.Close()
		}
	}()
	l, err := listen(o.Socket)
	if err != nil {
		return nil, err
	}
	a.lis = a.guarded(l)
	self, err := process.Self()
	if err == nil {
		v := version.Current()
		err = atomicfile.Write(o.RecordPath(), record{Identity: self, Socket: o.Socket, Version: v.Number, Built: v.Built, Exe: exe})
	}
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("writing the agent's record: %w", err)
	}
	a.ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	a.terms = newTerminals(a)
	if a.setups, err = newSetups(a); err != nil {
		_ = l.Close()
		return nil, err
	}
	a.figures = a.startFigures()
	return a, nil
}

// ErrRunning is returned where an agent of this state folder runs already.
var ErrRunning = errors.New("an agent of this state folder runs already")

func (a *Agent) takeLock(ctx context.Context, takeover bool) error {
	f, err := lock(a.o.LockPath(), false)
	if errors.Is(err, errLocked) {
		if !takeover {
			return ErrRunning
		}
		if err := handOver(ctx, a.o.Socket); err != nil {
			return fmt.Errorf("asking the older agent to hand over: %w", err)
		}
		f, err = lockWithin(ctx, a.o.LockPath(), 10*time.Second)
	}
	if err != nil {
		return fmt.Errorf("the agent's lock: %w", err)
	}
	a.lockFile = f
	return nil
}

func lockWithin(ctx context.Context, path string, limit time.Duration) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		f, err := lock(path, false)
		if !errors.Is(err, errLocked) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, errLocked
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (a *Agent) guarded(l *net.UnixListener) *guard {
	return &guard{UnixListener: l, uid: os.Getuid(), slots: a.conns, note: func(uid int) {
		a.log.Warn("another user tried the agent's socket and was refused", "uid", uid)
	}}
}

// Serve serves until the agent is told to stop, or has handed over and its last stream has ended.
func (a *Agent) Serve() error {
	a.login = login.New(a.ctx, a.o, a.base, a.exe)
	a.facts.start(a.ctx)
	a.terms.load()
	a.runOnStart()
	a.setups.Start()
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	a.srv = &http.Server{Handler: api.Mux(Routes(a)), Protocols: p, ReadHeaderTimeout: 30 * time.Second, MaxHeaderBytes: 1 << 20,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn)}
	a.events.add("agent.started", "info", "the agent started")
	go a.serveOn(a.lis)
	<-a.quit

	a.mu.Lock()
	handed := a.draining
	a.mu.Unlock()
	if !handed {
		a.letGo(true)
	}
	a.terms.stopWatching()
	a.setups.Stop()
	a.figures.Stop()
	a.events.close()
	sctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = a.srv.Shutdown(sctx) // answers under way; streams are not among them
	if !handed {
		a.endStreams()
	}
	a.streams.Wait()
	a.cancel()
	a.login.Await(context.Background())
	return nil
}

func (a *Agent) serveOn(l *guard) {
	if err := a.srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, os.ErrClosed) && !errors.Is(err, net.ErrClosed) {
		a.log.Error("the agent's socket failed", "err", err)
		a.leave()
	}
}

// letGo closes the socket and the lock. A newer agent may then have both.
func (a *Agent) letGo(removeRecord bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if removeRecord {
		_ = os.Remove(a.o.RecordPath())
	}
	_ = a.lis.Close() // removes the socket
	_ = a.lockFile.Close()
}

// leave makes Serve return.
func (a *Agent) leave() { a.once.Do(func() { close(a.quit) }) }

// Signal handles a signal to the agent's process: SIGUSR1 makes the socket again, which a cleaner of
// /tmp may have removed; others end the agent, not what it supervises.
func (a *Agent) Signal(s os.Signal) {
	switch s {
	case syscall.SIGUSR1:
		if err := a.relisten(); err != nil {
			a.log.Error("making the socket again failed", "err", err)
		}
	case syscall.SIGTERM, syscall.SIGINT:
		a.leave()
	}
}

func (a *Agent) relisten() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining {
		return nil
	}
	a.lis.SetUnlinkOnClose(false)
	l, err := listen(a.o.Socket)
	if err != nil {
		return err
	}
	old := a.lis
	a.lis = a.guarded(l)
	go a.serveOn(a.lis)
	return old.Close()
}

// begin counts a stream in; false means that the agent is leaving and starts nothing new.
func (a *Agent) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining || a.ctx.Err() != nil {
		return false
	}
	a.streams.Add(1)
	return true
}

// endStreams ends what is attached and lets nothing new begin.
func (a *Agent) endStreams() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cancel()
}

// active notes input or output of an exec or terminal.
func (a *Agent) active() { a.activity.Store(time.Now().UnixNano()) }
