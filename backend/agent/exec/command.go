package exec

import (
	"context"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"berth/backend/agent/environ"
	"berth/backend/agent/process"
	"berth/backend/agent/program"
	"berth/backend/agent/tty"
	"berth/backend/api"
	"berth/backend/base/pipe"
	"berth/backend/transport/flowcontrol"
	"berth/backend/transport/wire"
)

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

	hungUp atomic.Bool

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
	p.hungUp.Store(true)
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
	path, err := program.Look(req.Argv[0], dir, environ.Lookup(env, "PATH"))
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
			pipe.Grow(r)
			theirs = append(theirs, files[i])
		}
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = files[0], files[1], files[2]
		p.in = flowcontrol.New(ours[0])
		p.out = []execOut{{wire.Stdout, &output{File: ours[1]}}, {wire.Stderr, &output{File: ours[2]}}}
	}
	if err := p.cmd.Start(); err != nil {
		p.close()
		return nil, program.Explain(err, req.Argv[0], path)
	}
	return p, nil
}

// keepOpen is a terminal's master as seen by its input: only the output's side closes it.
type keepOpen struct{ *os.File }

// Close lets a write under way end, and nothing else.
func (k keepOpen) Close() error { return k.SetWriteDeadline(time.Unix(1, 0)) }
