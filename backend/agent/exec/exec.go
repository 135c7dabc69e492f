package exec

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"berth/backend/agent/environ"
	"berth/backend/agent/part"
	"berth/backend/agent/process"
	"berth/backend/agent/shim"
	"berth/backend/agent/tty"
	"berth/backend/api"
	"berth/backend/transport/flowcontrol"
	"berth/backend/transport/wire"
)

const (
	maxExecs = 512
	// chunk is how much output goes into one frame, and pipeSize the size of a pipe, in bytes.
	chunk    = 256 << 10
	pipeSize = 1 << 20
)

// service runs the commands of one agent.
type service struct {
	h        *part.Host
	patience patience
	running  atomic.Int64
}

// New makes the part that runs commands.
func New(h *part.Host) part.Part { return newService(h).part() }

func newService(h *part.Host) *service { return &service{h: h, patience: usual} }

func (e *service) part() part.Part {
	return part.Part{
		Name: "commands",
		Routes: []api.Route{{Method: "POST", Path: "/v1/exec", Summary: "Run a command; a byte stream",
			Request: api.ExecRequest{}, Stream: "frames", Handler: e.handle}},
		Info: func(i *api.AgentInfo) { i.Execs = int(e.running.Load()) },
	}
}

func (e *service) handle(w http.ResponseWriter, r *http.Request) {
	var req api.ExecRequest
	e.h.Stream(w, r, &req, func(st *api.Stream) error {
		defer e.running.Add(-1)
		if e.running.Add(1) > maxExecs {
			return api.Errorf(api.CodeRefused, "%d commands run through the agent of this instance already", maxExecs)
		}
		return e.exec(st, req)
	})
}

// exec runs one command and its stream to the end. An error means that nothing was started.
func (e *service) exec(s *api.Stream, req api.ExecRequest) error {
	p, err := e.startExec(req)
	if err != nil {
		return err
	}
	if err := s.Writer.WriteJSON(wire.Started, wire.Start{PID: p.cmd.Process.Pid}); err != nil {
		p.hangUp(e.h.Grace())
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
		e.readExec(s, p)
	})
	var pumps sync.WaitGroup
	for _, o := range p.out {
		pumps.Go(func() { e.pump(s.Writer, o.kind, o.r) })
	}
	ours.Go(func() {
		pumps.Wait()
		close(p.drained)
	})
	select {
	case <-p.exited:
	case <-p.gone:
		p.hangUp(e.h.Grace())
	case <-e.h.Context().Done():
		p.hangUp(e.h.Grace())
	}
	<-p.exited
	by, lost := e.linger(s, p, req)
	err = p.reap()
	e.h.Active()
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
func (e *service) readExec(s *api.Stream, p *execProc) {
	in := p.in.Source(func(n int) { _ = s.Writer.WriteWindow(uint32(n)) })
	for {
		k, b, err := s.Reader.Next()
		if err != nil {
			return
		}
		p.heard.Store(int64(time.Since(p.began)))
		switch k {
		case wire.Stdin:
			e.h.Active()
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
				tty.Resize(p.tty, z)
			}
		}
	}
}

// pump sends a command's output as it comes. Where the client is gone, closing the pipe lets the
// command know.
func (e *service) pump(w *wire.Writer, k wire.Kind, r *output) {
	defer r.Close()
	buf := make([]byte, chunk)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			e.h.Active()
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

func (e *service) startExec(req api.ExecRequest) (_ *execProc, err error) {
	if len(req.Argv) == 0 || req.Argv[0] == "" {
		return nil, api.Errorf(api.CodeUsage, "no command was given")
	}
	env := e.h.Environment(e.h.Context(), req.Env, req.TTY, req.Term)
	dir, err := e.h.Dir(req.Dir)
	if err != nil {
		return nil, err
	}
	path, err := part.LookPath(req.Argv[0], dir, environ.Lookup(env, "PATH"))
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
		master, tty, err := tty.Open(wire.Size{Rows: req.Rows, Cols: req.Cols})
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
