package forward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"berth/backend/api"
	"berth/backend/transport/flowcontrol"
	"berth/backend/transport/wire"
)

// chunk is how much goes into one frame at most, in bytes; few connections ever need more than the first.
const (
	firstChunk = 16 << 10
	chunk      = 256 << 10
)

// lastWord is how long an end may take to take in why the other one ends.
const lastWord = 5 * time.Second

// end is how one end of a stream names the frames that it sends and takes.
type end struct {
	sends, ends  wire.Kind // its bytes, and their end
	takes, ended wire.Kind // the other's
}

var (
	caller = end{wire.Stdin, wire.StdinEOF, wire.Stdout, wire.StdoutEOF}
	agent  = end{wire.Stdout, wire.StdoutEOF, wire.Stdin, wire.StdinEOF}
)

// errBroken is the error of a connection whose stream ended without a word.
var errBroken = errors.New("the line broke")

// splicing is one connection under way, and the stream that it goes over.
type splicing struct {
	end
	st     *api.Stream
	conn   net.Conn
	active func()
	mem    *Memory
	win    *wire.Credit // what may be sent

	sent   chan struct{} // closed when all of conn is sent, with its end
	exited chan struct{} // closed when the agent has said that both directions are through
	once   sync.Once
	why    error // why it ends early; valid when over is closed
	over   chan struct{}
}

// fail ends it early, for the first reason there is.
func (s *splicing) fail(err error) {
	s.once.Do(func() {
		s.why = err
		close(s.over)
	})
}

// Answer is the agent's end of a stream whose request asked for a connection, which is conn: it passes bytes between
// them until both directions have ended, and closes both. An error says why it ended early; the other end was told, and
// conn was reset. active is called when bytes come or go.
func Answer(ctx context.Context, st *api.Stream, conn net.Conn, mem *Memory, active func()) error {
	if err := st.Writer.WriteJSON(wire.Started, wire.Start{}); err != nil {
		reset(conn)
		return errBroken
	}
	return run(ctx, &splicing{end: agent, st: st, conn: conn, mem: mem, active: active})
}

// call is the other end of it: it waits until the agent is connected, and passes bytes between the stream and conn.
func call(ctx context.Context, st *api.Stream, conn net.Conn, mem *Memory) error {
	stop := context.AfterFunc(ctx, func() { _ = st.Close() })
	err := started(st)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = st.Close()
		reset(conn)
		return err
	}
	return run(ctx, &splicing{end: caller, st: st, conn: conn, mem: mem, active: func() {}})
}

// started reads the first frame of a stream.
func started(st *api.Stream) error {
	k, p, err := st.Reader.Next()
	switch {
	case err != nil:
		return api.Errorf(api.CodeUnreachable, "%w before the agent was connected: %w", errBroken, err)
	case k == wire.Started:
		return nil
	case k == wire.Error:
		return said(p)
	}
	return api.Errorf(api.CodeFailed, "the agent began with a frame %q", byte(k))
}

// said decodes an error that the other end has sent.
func said(p []byte) error {
	var e api.Error
	if err := json.Unmarshal(p, &e); err != nil || e.Message == "" {
		return api.Errorf(api.CodeFailed, "the other end gave up, and said %.80q", p)
	}
	return &e
}

// run passes bytes both ways until both directions have ended, or one failed.
func run(ctx context.Context, s *splicing) error {
	s.win = wire.NewCredit(wire.ForwardWindow)
	s.sent, s.exited, s.over = make(chan struct{}), make(chan struct{}), make(chan struct{})
	q := flowcontrol.New(sink{s})
	in := &intake{s: s}
	in.src = q.SourceOf(wire.ForwardWindow, in.grant)
	var ours sync.WaitGroup
	ours.Go(s.send)
	ours.Go(func() { s.receive(q, in.src) })
	err := s.wait(ctx, q)
	if err != nil {
		reset(s.conn)
	}
	if s.end == agent {
		_ = s.st.Conn.SetWriteDeadline(time.Now().Add(lastWord))
		switch {
		case err == nil:
			_ = s.st.Writer.WriteJSON(wire.Exit, wire.ExitStatus{}) // the caller may be gone: it has had all
		case !errors.Is(err, errBroken):
			s.st.Fail(err)
		}
	}
	_ = s.st.Close() // ends receive
	_ = s.conn.Close()
	s.win.Close() // both end send
	q.End()
	ours.Wait()
	if in.wide {
		s.mem.give()
	}
	return err
}

// wait waits for the end: all that came is written, and all that was read is sent.
func (s *splicing) wait(ctx context.Context, q *flowcontrol.Queue) error {
	sent, written, exited := s.sent, q.Done(), s.exited
	if s.end == agent {
		exited = nil
	}
	for sent != nil || written != nil || exited != nil {
		select {
		case <-s.over:
			return s.why
		case <-ctx.Done():
			s.fail(context.Cause(ctx))
			return s.why
		case <-sent:
			sent = nil
		case <-written:
			written = nil
		case <-exited:
			exited = nil
		}
	}
	select {
	case <-s.over: // what was written was not taken
		return s.why
	default:
		return nil
	}
}

// send passes on what conn gives.
func (s *splicing) send() {
	buf := make([]byte, firstChunk)
	for full := false; ; {
		if full && len(buf) < chunk {
			buf = make([]byte, 4*len(buf))
		}
		n, err := s.conn.Read(buf)
		full = n == len(buf)
		if n > 0 {
			s.active()
		}
		for p := buf[:n]; len(p) > 0; {
			k := s.win.Take(len(p))
			if k == 0 {
				return
			}
			if werr := s.st.Writer.Write(s.sends, p[:k]); werr != nil {
				s.fail(fmt.Errorf("%w: %w", errBroken, werr))
				return
			}
			p = p[k:]
		}
		switch {
		case errors.Is(err, io.EOF):
			if werr := s.st.Writer.Write(s.ends, nil); werr != nil {
				s.fail(fmt.Errorf("%w: %w", errBroken, werr))
				return
			}
			close(s.sent)
			return
		case err != nil:
			s.fail(s.ofConn(err))
			return
		}
	}
}

// ofConn is an error of the connection itself.
func (s *splicing) ofConn(err error) error {
	if s.end == agent {
		return api.Errorf(api.CodeFailed, "what listens on the instance ended the connection: %w", Cause(err))
	}
	return fmt.Errorf("%w: %w", errHere, err)
}

// Cause is an error of the network without its addresses: one end's mean nothing at the other.
func Cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// receive takes the frames of the other end. It waits for nothing else: the windows see to what it takes.
func (s *splicing) receive(q *flowcontrol.Queue, src *flowcontrol.Source) {
	ended := false
	for {
		k, p, err := s.st.Reader.Next()
		if err != nil {
			s.fail(fmt.Errorf("%w: %w", errBroken, err))
			return
		}
		switch {
		case k == s.takes:
			s.active()
			if ended || !s.put(src, p) {
				s.fail(api.Errorf(api.CodeFailed, "the other end sent more than it may"))
				return
			}
		case k == s.ended:
			ended = true
			q.EOF()
		case k == wire.Window:
			if n, err := wire.ParseWindow(p); err != nil || !s.win.Grant(int(n)) {
				s.fail(api.Errorf(api.CodeFailed, "the other end grants what can't be: %x", p))
				return
			}
		case k == wire.Error && s.end == caller:
			s.fail(said(p))
			return
		case k == wire.Exit && s.end == caller:
			if !ended {
				s.fail(api.Errorf(api.CodeFailed, "the agent ended the connection in the middle of it"))
				return
			}
			close(s.exited)
			return
		}
	}
}

// put queues what came. A large piece that fills its memory is not copied.
func (s *splicing) put(src *flowcontrol.Source, p []byte) bool {
	if len(p) < firstChunk || 2*len(p) < cap(p) {
		return src.Put(p)
	}
	spare, ok := src.Give(p)
	s.st.Reader.Keep(spare)
	return ok
}

// intake grants the other end what was written.
type intake struct {
	s       *splicing
	src     *flowcontrol.Source
	written int
	wide    bool
}

// grant is called in the queue's goroutine, which may wait for the line; receive may not.
func (i *intake) grant(n int) {
	_ = i.s.st.Writer.WriteWindow(uint32(n)) // receive hears of a stream that is gone
	if i.wide {
		return
	}
	if i.written += n; i.written >= wire.ForwardWindow && i.s.mem.take() {
		i.wide = true
		i.src.Widen(wideWindow)
	}
}

// sink writes to the connection; its Close ends that direction only.
type sink struct{ s *splicing }

func (k sink) Write(p []byte) (int, error) {
	n, err := k.s.conn.Write(p)
	if err != nil {
		k.s.fail(k.s.ofConn(err))
	}
	return n, err
}

func (k sink) Close() error {
	if c, ok := k.s.conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// reset closes a connection so that its other side does not take what it got for all there was. A unix socket has no
// such end.
func reset(conn net.Conn) {
	if c, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = c.SetLinger(0)
	}
	_ = conn.Close()
}
