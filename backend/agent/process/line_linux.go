package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Shims are those of an agent. To start a shim costs most of what a short process costs: one whose process has ended,
// of which nothing is left, is given the next, if that comes soon. Only the agent that started a shim can do so. The
// zero Shims is ready to use.
type Shims struct {
	mu    sync.Mutex
	lines map[*Line]bool // all
	free  []*Line        // the last one was used last
	timer *time.Timer    // closes what is free for long; nil: nothing is
	wg    sync.WaitGroup
}

// Line is an agent's line to a shim. It tells of one process at a time, to one goroutine.
type Line struct {
	Record Record // of the process

	s     *Shims
	exe   string
	sock  *net.UnixConn
	shim  *os.Process
	said  chan Said // closed when the line is broken
	exit  *Exit     // of the process, once it was said
	alone bool

	// Under the Shims' mu: a shim is free that says so, once nobody has to do with its process.
	offered, released bool
	since             time.Time
}

// errLine is returned where a line breaks: the process's folder tells what became of it.
var errLine = errors.New("the shim ended before its process ran (its log tells more)")

// Start starts a process as the function Start does, but that its shim may have kept others before. The line tells of
// it, and is to be released or dropped.
func (s *Shims) Start(ctx context.Context, command, env []string, spec any, log *os.File, files ...*os.File,
) (*Line, error) {
	in, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	fds := []int{int(log.Fd())}
	for _, f := range files {
		if f == nil {
			f = null
		}
		fds = append(fds, int(f.Fd()))
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		l := s.take(command[0])
		fresh := l == nil
		if fresh {
			if l, err = s.launch(command, env, log); err != nil {
				return nil, err
			}
		}
		if err = l.begin(ctx, append(in, '\n'), fds); err == nil {
			return l, nil
		}
		l.Drop()
		if fresh || !errors.Is(err, errLine) { // a free one may just have left; if it has taken the folder, a new one says so
			return nil, err
		}
	}
}

// take takes a free shim of this program; nil: there is none.
func (s *Shims) take(exe string) *Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range slices.Backward(s.free) {
		if l.exe == exe {
			s.free = slices.Delete(s.free, i, i+1)
			l.offered, l.released, l.exit, l.alone = false, false, nil, false
			return l
		}
	}
	return nil
}

// launch starts a shim, which waits for its first process.
func (s *Shims) launch(command, env []string, log *os.File) (*Line, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "line"), os.NewFile(uintptr(pair[1]), "line")
	defer ours.Close()
	defer theirs.Close()
	c, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.Dir = env, "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("starting the shim %s: %w", command[0], err)
	}
	l := &Line{s: s, exe: command[0], sock: c.(*net.UnixConn), shim: cmd.Process, said: make(chan Said, 3)}
	s.mu.Lock()
	if s.lines == nil {
		s.lines = map[*Line]bool{}
	}
	s.lines[l] = true
	s.mu.Unlock()
	s.wg.Go(l.read)
	go func() { _ = cmd.Wait() }() // reaps it, if this process lives longer
	return l, nil
}

// begin hands the process over, and waits until it runs.
func (l *Line) begin(ctx context.Context, spec []byte, files []int) error {
	stop := context.AfterFunc(ctx, func() { _ = l.sock.SetWriteDeadline(time.Unix(1, 0)) })
	n, _, err := l.sock.WriteMsgUnix(spec, unix.UnixRights(files...), nil)
	if err == nil && n < len(spec) {
		_, err = l.sock.Write(spec[n:])
	}
	stop()
	var x Said
	ok := err == nil
	if ok {
		select {
		case x, ok = <-l.said:
		case <-ctx.Done():
		}
	}
	switch {
	case ctx.Err() != nil:
		_ = l.shim.Signal(syscall.SIGTERM) // it ends what it has started
		return fmt.Errorf("waiting until the shim's process runs: %w", ctx.Err())
	case !ok:
		return errLine
	case x.Begun:
		return ErrBegun
	case x.Error != "":
		return errors.New(x.Error)
	case x.Record == nil:
		return errLine
	}
	l.Record = *x.Record
	return nil
}

// read takes what the shim says, until it ends or the line is closed.
func (l *Line) read() {
	s := l.s
	for in := json.NewDecoder(l.sock); ; {
		var x Said
		if err := in.Decode(&x); err != nil {
			break
		}
		if x.Free {
			s.mu.Lock()
			l.offered = true
			s.settle(l)
			s.mu.Unlock()
			continue
		}
		select {
		case l.said <- x:
		default: // nobody listens: it is no longer this agent's
		}
	}
	_ = l.sock.Close()
	s.mu.Lock()
	delete(s.lines, l)
	s.free = slices.DeleteFunc(s.free, func(x *Line) bool { return x == l })
	s.mu.Unlock()
	close(l.said)
}

// Exit waits until the process has ended. ok is false where ctx ended, or the line broke: its folder tells then.
func (l *Line) Exit(ctx context.Context) (x Exit, ok bool) {
	for l.exit == nil {
		if !l.next(ctx) {
			return x, false
		}
	}
	return *l.exit, true
}

// Alone waits until nothing is left of the process. It is false where ctx ended, or the line broke.
func (l *Line) Alone(ctx context.Context) bool {
	for !l.alone {
		if !l.next(ctx) {
			return false
		}
	}
	return true
}

func (l *Line) next(ctx context.Context) bool {
	select {
	case x, ok := <-l.said:
		if x.Exit != nil {
			l.exit = x.Exit
			l.exit.Alone = x.Alone
		}
		l.alone = l.alone || x.Alone
		return ok
	case <-ctx.Done():
		return false
	}
}

// Release leaves the shim to other processes, where nothing of this one is left.
func (l *Line) Release() {
	if !l.alone {
		l.Drop()
		return
	}
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.released = true
	l.s.settle(l)
}

// Drop ends the line: the shim ends with its process.
func (l *Line) Drop() { _ = l.sock.Close() }

// settle lets a shim wait for another process, if it is free. The caller holds mu.
func (s *Shims) settle(l *Line) {
	if !l.offered || !l.released || !s.lines[l] {
		return
	}
	if len(s.free) == freeMost {
		s.free[0].Drop()
		s.free = slices.Delete(s.free, 0, 1)
	}
	l.since = time.Now()
	s.free = append(s.free, l)
	if s.timer == nil {
		s.timer = time.AfterFunc(freeFor, s.expire)
	}
}

// expire ends shims that were free for long.
func (s *Shims) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = nil
	now := time.Now()
	s.free = slices.DeleteFunc(s.free, func(l *Line) bool {
		old := now.Sub(l.since) >= freeFor
		if old {
			l.Drop()
		}
		return old
	})
	if len(s.free) > 0 {
		s.timer = time.AfterFunc(freeFor-now.Sub(slices.MinFunc(s.free, func(a, b *Line) int {
			return a.since.Compare(b.since)
		}).since), s.expire)
	}
}

// Free is how many shims wait for another process.
func (s *Shims) Free() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.free)
}

// Close ends all lines: shims that are free end, the others do with their processes.
func (s *Shims) Close() {
	s.mu.Lock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	for l := range s.lines {
		l.Drop()
	}
	s.mu.Unlock()
	s.wg.Wait()
}
