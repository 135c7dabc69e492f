package exec

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"berth/backend/agent/part"
	"berth/backend/agent/process"
	"berth/backend/agent/program"
	"berth/backend/agent/shim"
	"berth/backend/agent/tty"
	"berth/backend/api"
	"berth/backend/transport/flowcontrol"
	"berth/backend/transport/wire"
	"berth/gpu/procs/proc"
)

const (
	maxExecs = 512
	// chunk is how much output goes into one frame, in bytes.
	chunk = 256 << 10
)

// service runs the commands of one agent.
type service struct {
	h        *part.Host
	self     proc.Identity
	patience patience
	running  atomic.Int64
	commands sync.Map // of *execProc by id
}

// New makes the part that runs commands.
func New(h *part.Host) part.Part { return newService(h).part() }

func newService(h *part.Host) *service {
	self, _ := proc.Self() // the zero one is no other process's
	return &service{h: h, self: self, patience: usual}
}

func (e *service) part() part.Part {
	return part.Part{
		Name: "commands",
		Routes: []api.Route{
			{Method: "POST", Path: "/v1/exec", Needs: api.Needs(api.ActionAccess),
				Summary: "Run a command; a byte stream",
				Request: api.ExecRequest{}, Stream: "frames", Handler: e.handle},
			{Method: "GET", Path: "/v1/exec/{id}", Needs: api.Needs(api.ActionRead),
				Summary:  "What has become of a command whose stream broke, by the id that it began with",
				Response: api.ExecState{}, Handler: e.handleState},
		},
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
	var no *program.Error
	if errors.As(err, &no) { // said and ended as by a shell: it is no failure of Berth's
		says, end := wire.Stderr, "\n"
		if req.TTY {
			says, end = wire.Stdout, "\r\n"
		}
		_ = s.Writer.Write(says, []byte(no.Error()+end)) // the client may be gone
		_ = s.Writer.WriteJSON(wire.Exit, wire.ExitStatus{Code: no.Status})
		return nil
	}
	if err != nil {
		return err
	}
	began := wire.Start{PID: p.cmd.Process.Pid, Exec: e.id(p.cmd.Process.Pid)}
	e.commands.Store(began.Exec, p)
	defer e.commands.Delete(began.Exec)
	if err := s.Writer.WriteJSON(wire.Started, began); err != nil {
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
	leaves := false
	select {
	case <-p.exited:
	case <-p.gone:
		p.hangUp(e.h.Grace())
	case <-e.h.Context().Done():
		leaves = true
		p.hangUp(e.h.Grace())
	}
	<-p.exited
	by, lost := e.linger(s, p, req)
	err = p.reap()
	e.h.Active()
	var ee *exec.ExitError
	switch {
	case leaves:
		s.Fail(endedWith(p.cmd.ProcessState))
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

// endedWith says what has become of a command that the agent has told to end, because it ends itself.
func endedWith(st *os.ProcessState) error {
	x := shim.StatusOf(st)
	how := fmt.Sprintf("it has exited with %d", x.Code)
	if x.Signal != "" {
		how = "SIG" + x.Signal + " has ended it"
	}
	return api.Errorf(api.CodeUnreachable,
		"the agent was told to end while the command ran, and has told that to end, too (SIGHUP): %s", how).WithHint(again)
}

// again is what to do about a command that was lost with its agent.
const again = "run it again; what is run in a terminal (berth ssh) outlives the agent"

// readExec takes the client's frames until it hangs up.
func (e *service) readExec(s *api.Stream, p *execProc) {
	in := p.in.Source(func(n int) { _ = s.Writer.WriteWindow(uint32(n)) })
	wide := p.tty != nil // what is typed needs no more than the first window
	for {
		k, b, err := s.Reader.Next()
		if err != nil {
			return
		}
		p.heard.Store(int64(time.Since(p.began)))
		switch k {
		case wire.Stdin:
			e.h.Active()
			if !wide {
				in.Widen(wire.CommandWindow)
				wide = true
			}
			if !take(s.Reader, in, b) {
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

// take queues input. A large piece that fills its memory is not copied.
func take(r *wire.Reader, in *flowcontrol.Source, b []byte) bool {
	if len(b) < 16<<10 || 2*len(b) < cap(b) {
		return in.Put(b)
	}
	spare, ok := in.Give(b)
	r.Keep(spare)
	return ok
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
			var werr error
			if more := r.more(w); err == nil && more > 0 {
				werr = w.WriteWith(k, buf[:n], r.File, min(more, wire.MaxPayload-n))
			} else {
				werr = w.Write(k, buf[:n])
			}
			if werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
