package exec

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend/api"
	"berth/backend/base/pipe"
	"berth/backend/transport/wire"
	"berth/gpu/procs/proc"
)

// What a command leaves in the background holds its output open. As with ssh, the stream of an exec ends when
// the last writer has closed it, and what was written is delivered however slowly the client takes it.

const (
	// quietLimit is how long output is awaited after the end of a command on a terminal, where nothing can
	// be written any more, and of one whose client does not wait for what it leaves behind.
	quietLimit = 200 * time.Millisecond
	// leaveLimit is how long an agent that leaves waits for a client to take what was written.
	leaveLimit = 10 * time.Second
)

// patience says how long a stream whose command has ended waits.
type patience struct {
	// name is when the client is told who holds the output open.
	name time.Duration
	// silent is how long a client that promised to be heard may be silent while somebody holds the output open.
	silent time.Duration
}

// usual is the patience of every agent but those of tests. A client is heard every wire.AliveEvery.
var usual = patience{name: 5 * time.Second, silent: 15*time.Second + wire.AliveEvery}

// linger waits until all output of a command whose main process has ended was passed on. A signal of the client
// that ended the wait is returned as by; lost says why some output could not be awaited.
func (e *service) linger(s *api.Stream, p *execProc, req api.ExecRequest) (by syscall.Signal, lost error) {
	for _, o := range p.out {
		if o.r.tty {
			o.r.enter(outputQuiet)
		}
	}
	if req.NoLinger {
		t := time.AfterFunc(quietLimit, func() { p.enter(outputCut) })
		defer t.Stop()
	}
	var says sync.WaitGroup
	defer says.Wait()
	leaving := e.h.Context().Done()
	ended, named := time.Now(), false
	tick := time.NewTicker(min(time.Second, e.patience.name, e.patience.silent))
	defer tick.Stop()
	for {
		select {
		case <-p.drained:
			return 0, lost
		case <-p.gone:
			p.enter(outputDropped)
			_ = s.Close() // ends a write to a client that does not read
			<-p.drained
			return 0, errors.New("the client has gone")
		case by = <-p.stopped:
			p.enter(outputDropped)
			_ = s.Conn.SetWriteDeadline(time.Now().Add(leaveLimit))
			<-p.drained
			return by, nil
		case <-leaving:
			leaving = nil
			if p.held() {
				lost = api.Errorf(api.CodeUnreachable, "the agent ends: what the command left running may have had more to say").
					WithHint(again)
			}
			_ = s.Conn.SetWriteDeadline(time.Now().Add(leaveLimit))
			p.enter(outputCut)
		case now := <-tick.C:
			silent := time.Since(p.began) - time.Duration(p.heard.Load())
			if !req.Alive || lost != nil || !p.held() {
				continue
			}
			if silent > e.patience.silent {
				lost = api.Errorf(api.CodeFailed,
					"the output is not whole: nothing was heard of this client for %v, while %s held it open",
					silent.Round(time.Second), wire.Lingering{Holders: p.writers()})
				p.enter(outputCut)
			} else if now.Sub(ended) >= e.patience.name && !named {
				named = true
				says.Go(func() { _ = s.Writer.WriteJSON(wire.Lingers, wire.Lingering{Holders: p.writers()}) })
			}
		}
	}
}

// enter puts all outputs into a state.
func (p *execProc) enter(st outputState) {
	for _, o := range p.out {
		o.r.enter(st)
	}
}

// held reports whether a process could still write.
func (p *execProc) held() bool {
	for _, o := range p.out {
		if o.r.held() {
			return true
		}
	}
	return false
}

// writers lists the processes that could still write, as far as this user may see them.
func (p *execProc) writers() []wire.Holder {
	var pipes []os.FileInfo
	for _, o := range p.out {
		if fi, err := o.r.Stat(); err == nil && o.r.held() {
			pipes = append(pipes, fi)
		}
	}
	var out []wire.Holder
	for _, pid := range proc.Holders(pipes) {
		out = append(out, wire.Holder{PID: pid, Command: proc.CommandOf(pid)})
	}
	return out
}

// outputState says how the output of a command ends. It only grows.
type outputState int

const (
	outputOpen    outputState = iota // when the last writer closes it
	outputQuiet                      // when nothing comes for quietLimit, too
	outputCut                        // with what is written by now
	outputDropped                    // at once
)

// output is the reading end of a command's output.
type output struct {
	*os.File
	tty  bool
	mu   sync.Mutex
	st   outputState
	rest int // bytes that may still be read after the cut
}

// enter changes the state, also under a Read that waits.
func (o *output) enter(st outputState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if st > o.st {
		o.st, o.rest = st, pipe.Room(o.File)
		o.arm()
	}
}

// arm sets the time at which a Read stops waiting; o.mu is held.
func (o *output) arm() {
	switch {
	case o.st == outputQuiet:
		_ = o.SetReadDeadline(time.Now().Add(quietLimit))
	case o.st > outputQuiet:
		_ = o.SetReadDeadline(time.Unix(1, 0))
	}
}

// Read implements io.Reader.
func (o *output) Read(b []byte) (int, error) {
	o.mu.Lock()
	o.arm()
	o.mu.Unlock()
	n, err := o.File.Read(b)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.st == outputDropped {
		return 0, io.EOF
	}
	// What was written by now is there still: no more than a pipe holds, or a writer without end would go on.
	n, err = o.now(b[:min(len(b), o.rest)])
	o.rest -= n
	return n, err
}

// more is how many bytes w can take out of the pipe without a copy, while the output goes on.
func (o *output) more(w *wire.Writer) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tty || o.st != outputOpen {
		return 0
	}
	return w.Splices(o.File)
}

// now reads what is there, without waiting; io.EOF where there is nothing.
func (o *output) now(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, io.EOF
	}
	rc, err := o.SyscallConn()
	if err != nil {
		return 0, err
	}
	var rerr error
	err = rc.Control(func(fd uintptr) { // Read would look at the deadline
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, rerr = unix.Poll(p, 0); rerr == nil && p[0].Revents&unix.POLLIN != 0 {
			n, rerr = unix.Read(int(fd), b)
		}
	})
	if err != nil || rerr != nil || n <= 0 {
		return 0, io.EOF
	}
	return n, nil
}

// held reports whether a process has the writing end of a pipe open.
func (o *output) held() bool {
	if o.tty {
		return false
	}
	rc, err := o.SyscallConn()
	if err != nil {
		return false
	}
	held := false
	_ = rc.Control(func(fd uintptr) { // an error where it was closed
		p := []unix.PollFd{{Fd: int32(fd)}}
		_, err := unix.Poll(p, 0)
		held = err == nil && p[0].Revents&unix.POLLHUP == 0
	})
	return held
}

// interrupted is the status of a command whose client stopped waiting by a signal.
func interrupted(by syscall.Signal) wire.ExitStatus {
	name := strings.TrimPrefix(unix.SignalName(by), "SIG")
	return wire.ExitStatus{Code: 128 + int(by), Signal: name, Reason: "interrupted"}
}
