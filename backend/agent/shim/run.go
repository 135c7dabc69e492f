package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"berth/backend/agent/flowcontrol"
	"berth/backend/agent/process"
	"berth/backend/base/atomicfile"
	"berth/backend/transport/wire"
)

// Ready is the line that a shim prints once, on descriptor 3: what was started, or why it was not.
type Ready struct {
	PID   int    `json:"pid,omitempty"`
	Error string `json:"error,omitempty"`
}

// maxSpec bounds the specification, in bytes: an environment and a command line.
const maxSpec = 8 << 20

// Main is a shim: args are its arguments (the terminal's id, for people who look at ps). It reads a
// Spec from standard input, says Ready on descriptor 3 and lives as long as the terminal.
func Main(args []string) int {
	// There may be hundreds of shims: memory before speed.
	debug.SetGCPercent(30)
	ready := os.NewFile(3, "ready")
	if ready == nil || len(args) != 1 {
		fmt.Fprintln(os.Stderr, "berth agent shim ID: only the agent starts this")
		return 2
	}
	say := func(r Ready) {
		b, _ := json.Marshal(r)
		_, _ = ready.Write(append(b, '\n')) // the agent may have been killed: the terminal lives on
		_ = ready.Close()
	}
	var spec Spec
	if err := json.NewDecoder(io.LimitReader(os.Stdin, maxSpec)).Decode(&spec); err != nil {
		say(Ready{Error: fmt.Sprintf("the shim got no specification: %v", err)})
		return 2
	}
	t, err := open(spec)
	if err != nil {
		say(Ready{Error: err.Error()})
		return 1
	}
	say(Ready{PID: t.child.PID})
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		_ = unix.Dup2(int(null.Fd()), 0) // let go of the agent's pipe
		_ = null.Close()
	}
	return t.run()
}

// term is a running terminal.
type term struct {
	spec  Spec
	rec   Record
	cmd   *exec.Cmd
	pty   *os.File
	child process.Identity
	hub   *hub
	in    *flowcontrol.Queue
	lmu   sync.Mutex
	lis   net.Listener
	conns sync.WaitGroup
	kills sync.WaitGroup // those that end the terminal's processes; Go under lmu
	// finishing is set, under lmu, once the shell has ended.
	finishing bool
	sigs      chan os.Signal
}

func open(spec Spec) (_ *term, err error) {
	t := &term{spec: spec, sigs: make(chan os.Signal, 8)}
	// Caught, not ignored: what is ignored stays ignored in the shell.
	signal.Notify(t.sigs, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	if err := t.listen(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = t.lis.Close()
		}
	}()
	t.cmd = &exec.Cmd{Path: spec.Path, Args: append([]string{spec.Argv0}, spec.Args...), Dir: spec.Cwd, Env: spec.Env}
	size := wire.Size{Rows: spec.Rows, Cols: spec.Cols}
	if size.Rows == 0 || size.Cols == 0 {
		size = wire.Size{Rows: 24, Cols: 80}
	}
	master, tty, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("opening a terminal device: %w", err)
	}
	defer tty.Close()
	t.pty = master
	_ = pty.Setsize(master, &pty.Winsize{Rows: size.Rows, Cols: size.Cols})
	t.cmd.Stdin, t.cmd.Stdout, t.cmd.Stderr = tty, tty, tty
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	started := time.Now().UTC()
	if err := t.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", spec.Path, err)
	}
	if t.child, err = process.Identify(t.cmd.Process.Pid); err != nil {
		// It ended already; nothing else has its number before we wait for it.
		t.child, err = process.Identity{PID: t.cmd.Process.Pid, Boot: process.BootID()}, nil
	}
	t.in = flowcontrol.New(master)
	t.hub = newHub(&Ring{}, size, func(z wire.Size) {
		_ = pty.Setsize(master, &pty.Winsize{Rows: z.Rows, Cols: z.Cols})
	})
	self, err := process.Self()
	if err == nil {
		t.rec = Record{Protocol: Protocol, ID: spec.ID, Shim: self, Child: t.child, Command: spec.Path, Mark: spec.Mark, Socket: spec.Socket, TTY: tty.Name(), StartedAt: started}
		err = atomicfile.Write(RecordPath(spec.Dir), t.rec)
	}
	if err != nil {
		// Without a record no agent would find the terminal again: better none.
		_ = syscall.Kill(-t.cmd.Process.Pid, syscall.SIGKILL)
		_ = t.cmd.Wait()
		return nil, fmt.Errorf("writing the terminal's record: %w", err)
	}
	return t, nil
}

// listen makes the socket, again if a cleaner of /tmp took it.
func (t *term) listen() error {
	_ = os.Remove(t.spec.Socket)
	old := syscall.Umask(0o177)
	l, err := net.Listen("unix", t.spec.Socket)
	syscall.Umask(old)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", t.spec.Socket, err)
	}
	t.lmu.Lock()
	t.lis = l
	t.lmu.Unlock()
	return nil
}

func (t *term) run() int {
	go t.accept(t.lis)
	eof := make(chan struct{})
	go func() {
		defer close(eof)
		t.readPTY()
	}()
	waited := make(chan error, 1)
	go func() { waited <- t.cmd.Wait() }()
	ending := false
	for {
		select {
		case s := <-t.sigs:
			switch s {
			case syscall.SIGUSR1:
				t.relisten()
			case syscall.SIGTERM, syscall.SIGINT:
				if !ending {
					ending = true
					t.startKill(defaultGrace) // the shell's end ends this process
				}
			}
		case err := <-waited:
			t.finish(status(t.cmd, err), eof)
			return 0
		}
	}
}

// drainLimit is how long output is awaited after the shell has ended: what it started in the
// background may hold the terminal open for ever.
const drainLimit = 200 * time.Millisecond

func (t *term) finish(x wire.ExitStatus, eof <-chan struct{}) {
	timer := time.NewTimer(drainLimit)
	select {
	case <-eof:
	case <-timer.C:
	}
	timer.Stop()
	t.lmu.Lock()
	t.finishing = true
	t.lmu.Unlock()
	t.kills.Wait() // the shell goes first, and what ignores the request last
	// The result first: what a client was told must be found by an agent that comes later.
	if err := atomicfile.Write(ResultPath(t.spec.Dir), Result{ExitStatus: x, EndedAt: time.Now().UTC()}); err != nil {
		fmt.Fprintf(os.Stderr, "berth shim %s: the shell ended with %+v, which could not be written: %v\n", t.spec.ID, x, err)
	}
	t.hub.end(x)
	t.lmu.Lock()
	_ = t.lis.Close() // removes the socket
	t.lmu.Unlock()
	done := make(chan struct{})
	go func() { t.conns.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(stallLimit): // a client that does not read its last bytes
	}
}

func (t *term) readPTY() {
	buf := make([]byte, 32<<10)
	for {
		n, err := t.pty.Read(buf)
		if n > 0 {
			t.hub.output(buf[:n])
		}
		if err != nil {
			return // EIO: the last holder of the terminal is gone
		}
	}
}

// status turns the end of a process into an exit status.
func status(cmd *exec.Cmd, err error) wire.ExitStatus {
	var ee *exec.ExitError
	if err != nil && !errors.As(err, &ee) {
		return wire.ExitStatus{Code: 255, Reason: err.Error()}
	}
	return StatusOf(cmd.ProcessState)
}

// StatusOf is the exit status of a process that has ended.
func StatusOf(ps *os.ProcessState) wire.ExitStatus {
	if ws, ok := ps.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return wire.ExitStatus{Code: 128 + int(ws.Signal()), Signal: SignalName(ws.Signal())}
	}
	return wire.ExitStatus{Code: ps.ExitCode()}
}
