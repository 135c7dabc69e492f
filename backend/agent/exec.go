package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"berth/backend/agent/environ"
	"berth/backend/agent/flowcontrol"
	"berth/backend/agent/process"
	"berth/backend/agent/shim"
	"berth/backend/agent/tty"
	"berth/backend/api"
	"berth/backend/transport/wire"
)

const (
	maxExecs = 512
	// requestLimit is how long a client may take for the first frame of a stream.
	requestLimit = 30 * time.Second
	// hangupGrace is how long a command has to end after its client hung up.
	hangupGrace = 5 * time.Second
	// chunk is how much output goes into one frame, and pipeSize the size of a pipe, in bytes.
	chunk    = 256 << 10
	pipeSize = 1 << 20
)

// openStream upgrades a request to a stream that the agent waits for when it leaves; done ends it. On
// failure the request is answered and the stream is nil.
func (a *Agent) openStream(w http.ResponseWriter, r *http.Request) (s *api.Stream, done func()) {
	if !a.begin() {
		api.WriteError(w, errLeaving())
		return nil, nil
	}
	s, err := api.Upgrade(w, r)
	if err != nil {
		a.streams.Done()
		return nil, nil
	}
	return s, func() {
		_ = s.Close()
		a.streams.Done()
	}
}

func (a *Agent) handleExec(w http.ResponseWriter, r *http.Request) {
	s, done := a.openStream(w, r)
	if s == nil {
		return
	}
	defer done()
	if n := a.execs.Add(1); n > maxExecs {
		a.execs.Add(-1)
		s.Fail(api.Errorf(api.CodeRefused, "%d commands run through the agent of this instance already", maxExecs))
		return
	}
	defer a.execs.Add(-1)
	var req api.ExecRequest
	_ = s.Conn.SetReadDeadline(time.Now().Add(requestLimit))
	if err := s.ReadRequest(&req); err != nil {
		s.Fail(err)
		return
	}
	_ = s.Conn.SetReadDeadline(time.Time{})
	a.active()
	if err := a.exec(s, req); err != nil {
		s.Fail(err)
	}
}

func errLeaving() error {
	return api.Errorf(api.CodeConflict, "the agent is being replaced or stopped").WithHint("try again in a moment")
}

// exec runs one command and its stream to the end. An error means that nothing was started.
func (a *Agent) exec(s *api.Stream, req api.ExecRequest) error {
	p, err := a.startExec(req)
	if err != nil {
		return err
	}
	if err := s.Writer.WriteJSON(wire.Started, wire.Start{PID: p.cmd.Process.Pid}); err != nil {
		p.hangUp(time.Duration(a.grace.Load()))
		p.close()
		_ = p.reap()
		return nil
	}
	var ours sync.WaitGroup
	ours.Go(func() {
		defer close(p.exited)
		_ = process.AwaitExit(p.cmd.Process.Pid) // reap has the error, too
	})
	ours.Go(func() {
		defer close(p.gone)
		a.readExec(s, p)
	})
	var pumps sync.WaitGroup
	for _, o := range p.out {
		pumps.Go(func() { a.pump(s.Writer, o.kind, o.r) })
	}
	ours.Go(func() {
		pumps.Wait()
		close(p.drained)
	})
	select {
	case <-p.exited:
	case <-p.gone:
		p.hangUp(time.Duration(a.grace.Load()))
	case <-a.ctx.Done():
		p.hangUp(time.Duration(a.grace.Load()))
	}
	<-p.exited
	by, lost := a.linger(s, p, req)
	err = p.reap()
	a.active()
	var ee *exec.ExitError
	switch {
	case lost != nil:
		s.Fail(lost)
	case by != 0:
		_ = s.Writer.WriteJSON(wire.Exit, interrupted(by))
	case err != nil && !errors.As(err, &ee):
		s.Fail(api.Errorf(api.CodeFailed, "waiting for %s: %w", p.cmd.Path, err))
	default:
		_ = s.Writer.WriteJSON(wire.Exit, shim.StatusOf(p.cmd.ProcessState))
	}
	_ = s.Close() // ends the reader
	ours.Wait()
	p.close()
	return nil
}

// readExec takes the client's frames until it hangs up.
func (a *Agent) readExec(s *api.Stream, p *execProc) {
	in := p.in.Source(func(n int) { _ = s.Writer.WriteWindow(uint32(n)) })
	for {
		k, b, err := s.Reader.Next()
		if err != nil {
			return
		}
		p.heard.Store(int64(time.Since(p.began)))
		switch k {
		case wire.Stdin:
			a.active()
			if !in.Put(b) {
				s.Fail(api.Errorf(api.CodeUsage, "more input was sent than the stream's window allows"))
				return
			}
		case wire.StdinEOF:
			if p.tty != nil {
				in.Put([]byte{4}) // what ctrl-D types: a terminal has no other end of input
			} else {
				p.in.EOF()
			}
		case wire.Signal:
			if sig, ok := shim.ParseSignal(string(b)); ok {
				p.signal(sig)
			}
		case wire.Resize:
			var z wire.Size
			if p.tty != nil && json.Unmarshal(b, &z) == nil {
				tty.Resize(p.tty, z.Rows, z.Cols)
			}
		}
	}
}

// pump sends a command's output as it comes. Where the client is gone, closing the pipe lets the
// command know.
func (a *Agent) pump(w *wire.Writer, k wire.Kind, r *output) {
	defer r.Close()
	buf := make([]byte, chunk)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			a.active()
			if w.Write(k, buf[:n]) != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// execProc is a command that was started.
type execProc struct {
	cmd *exec.Cmd
	in  *flowcontrol.Queue
	tty *os.File
	out []execOut

	exited  chan struct{}       // closed when the command's main process has ended
	drained chan struct{}       // closed when all of its output was passed on
	gone    chan struct{}       // closed when the client's side has ended
	stopped chan syscall.Signal // a signal that ends the wait for output, once the main process has ended
	began   time.Time
	heard   atomic.Int64 // nanoseconds from began to the client's last frame: a clock may jump

	mu     sync.Mutex
	reaped bool // the number of the process may be another one's
}

type execOut struct {
	kind wire.Kind
	r    *output
}

// signal sends a signal to the command's process group.
func (p *execProc) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, sig)
	select {
	case <-p.exited:
		switch sig {
		case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT:
			select {
			case p.stopped <- sig:
			default: // one is enough
			}
		}
	default:
	}
}

// reap takes the command's status from the kernel. Until then the process stays a zombie, and its number, which
// is that of its group and session, is nobody else's. Nothing is signalled from then on.
func (p *execProc) reap() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
	return p.cmd.Wait()
}

// hangUp ends the command's session as a lost connection does: SIGHUP, and SIGKILL after a grace. It must not be
// called after reap.
func (p *execProc) hangUp(grace time.Duration) {
	pid := p.cmd.Process.Pid
	_ = syscall.Kill(-pid, syscall.SIGHUP)
	_ = syscall.Kill(-pid, syscall.SIGCONT)
	set := process.Set{Session: pid}
	deadline := time.Now().Add(grace)
	for time.Now().Before(deadline) {
		if empty, err := set.Empty(); err != nil || empty {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	_, _ = set.End(context.Background(), 0, nil)
}

func (p *execProc) close() {
	p.in.Close()
	for _, o := range p.out {
		_ = o.r.Close()
	}
}

func (a *Agent) startExec(req api.ExecRequest) (_ *execProc, err error) {
	if len(req.Argv) == 0 || req.Argv[0] == "" {
		return nil, api.Errorf(api.CodeUsage, "no command was given")
	}
	env := a.environment(a.ctx, req.Env, req.TTY, req.Term)
	dir, err := a.dir(req.Dir)
	if err != nil {
		return nil, err
	}
	path, err := lookPath(req.Argv[0], dir, environ.Lookup(env, "PATH"))
	if err != nil {
		return nil, err
	}
	p := &execProc{began: time.Now(), cmd: &exec.Cmd{Path: path, Args: req.Argv, Dir: dir, Env: env},
		exited: make(chan struct{}), drained: make(chan struct{}), gone: make(chan struct{}),
		stopped: make(chan syscall.Signal, 1)}
	var theirs []io.Closer
	defer func() {
		for _, c := range theirs {
			_ = c.Close()
		}
	}()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if req.TTY {
		master, tty, err := tty.Open(req.Rows, req.Cols)
		if err != nil {
			return nil, api.Errorf(api.CodeFailed, "opening a terminal device: %w", err)
		}
		theirs = append(theirs, tty)
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = tty, tty, tty
		p.cmd.SysProcAttr.Setctty = true
		p.tty = master
		p.in = flowcontrol.New(keepOpen{master})
		p.out = []execOut{{wire.Stdout, &output{File: master, tty: true}}}
	} else {
		files := [3]*os.File{} // the command's ends
		ours := [3]*os.File{}
		for i := range files {
			r, w, err := os.Pipe()
			if err != nil {
				return nil, api.Errorf(api.CodeFailed, "making a pipe: %w", err)
			}
			files[i], ours[i] = w, r
			if i == 0 {
				files[i], ours[i] = r, w
			}
			growPipe(r)
			theirs = append(theirs, files[i])
		}
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = files[0], files[1], files[2]
		p.in = flowcontrol.New(ours[0])
		p.out = []execOut{{wire.Stdout, &output{File: ours[1]}}, {wire.Stderr, &output{File: ours[2]}}}
	}
	if err := p.cmd.Start(); err != nil {
		p.close()
		return nil, api.Errorf(api.CodeFailed, "running %q in %s: %w", req.Argv[0], dir, err)
	}
	return p, nil
}

// keepOpen is a terminal's master as seen by its input: only the output's side closes it.
type keepOpen struct{ *os.File }

// Close lets a write under way end, and nothing else.
func (k keepOpen) Close() error { return k.SetWriteDeadline(time.Unix(1, 0)) }

// environment is what a command or terminal runs with.
func (a *Agent) environment(ctx context.Context, over []string, tty bool, term string) []string {
	env := environ.Merge(a.login.Environment(ctx), a.o.Env()...)
	if tty {
		if term == "" {
			term = "xterm-256color"
		}
		env = environ.Merge(env, "TERM="+term)
	}
	return environ.Merge(env, over...)
}

// dir is where a command runs: below the working directory if the request's path is relative.
func (a *Agent) dir(dir string) (string, error) {
	if dir == "" {
		dir = a.o.Workdir
	} else if dir == "~" || strings.HasPrefix(dir, "~/") {
		dir = filepath.Join(a.o.Home, dir[1:])
	} else if !filepath.IsAbs(dir) {
		dir = filepath.Join(a.o.Workdir, dir)
	}
	fi, err := os.Stat(dir)
	if err == nil && !fi.IsDir() {
		err = errors.New("it is no folder")
	}
	if err != nil {
		return "", api.Errorf(api.CodeFailed, "the working directory %s can't be used: %w", dir, err)
	}
	return dir, nil
}

// lookPath finds a program as a shell on the instance would, by the command's own PATH and folder.
func lookPath(name, dir, path string) (string, error) {
	if strings.ContainsRune(name, '/') {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, nil // the kernel says what is wrong with it
	}
	for _, d := range filepath.SplitList(path) {
		if d == "" {
			d = "."
		}
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d)
		}
		p := filepath.Join(d, name)
		if fi, err := os.Stat(p); err == nil && !fi.IsDir() && fi.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", api.Errorf(api.CodeFailed, "the command %q was not found on the instance (PATH is %s)", name, path).
		WithHint("give its full path, or set PATH in a start-up file of your shell, as for its terminals")
}
