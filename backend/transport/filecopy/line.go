package filecopy

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"berth/backend/api"
	"berth/backend/transport/wire"
)

// window is how many files may be under way: told, and not yet in their place.
const window = 512

// Progress counts what was done. It may be read at any time.
type Progress struct {
	Bytes, Files           atomic.Int64 // in their places by now, with what was there
	TotalBytes, TotalFiles atomic.Int64 // 0: not known
}

// Common is what both sides are given. Every function may be nil.
type Common struct {
	// Peer is what the other side is called, before what it says. It may be empty.
	Peer string
	// Problem is told what could not be copied, in words; the rest is.
	Problem func(text string)
	// Active is called while bytes pass.
	Active func()
	// Progress is counted up, if it is not nil.
	Progress *Progress
}

// line is one side's end of a stream. Its methods may be called at once, but for read.
type line struct {
	Common
	st       *api.Stream
	mu       sync.Mutex
	w        *bufio.Writer
	buf      []byte
	problems atomic.Int64
}

func newLine(st *api.Stream, c Common) *line {
	if c.Problem == nil {
		c.Problem = func(string) {}
	}
	if c.Active == nil {
		c.Active = func() {}
	}
	if c.Progress == nil {
		c.Progress = new(Progress)
	}
	return &line{Common: c, st: st, w: bufio.NewWriterSize(st.Conn, 64<<10)}
}

// write queues a frame.
func (l *line) write(f frame) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf[:0], byte(f.kind), 0, 0, 0, 0) // the header of package wire
	if f.kind != kindData {
		l.buf = f.payload(l.buf)
	}
	binary.BigEndian.PutUint32(l.buf[1:], uint32(len(l.buf)-5+len(f.data)))
	if _, err := l.w.Write(l.buf); err != nil {
		return l.broke(err)
	}
	if _, err := l.w.Write(f.data); err != nil {
		return l.broke(err)
	}
	return nil
}

// say queues a frame and sends all that is queued.
func (l *line) say(f frame) error {
	if err := l.write(f); err != nil {
		return err
	}
	return l.flush()
}

func (l *line) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.w.Flush(); err != nil {
		return l.broke(err)
	}
	return nil
}

// errBroke is the error of a line that broke.
type errBroke struct{ err error }

func (e errBroke) Error() string { return "the line broke: " + e.err.Error() }
func (e errBroke) Unwrap() error { return e.err }

func (l *line) broke(err error) error { return errBroke{err} }

// read reads the next frame. The other side's error is an *api.Error.
func (l *line) read() (frame, error) {
	k, p, err := l.st.Reader.Next()
	switch {
	case errors.Is(err, io.EOF):
		return frame{}, l.broke(io.ErrUnexpectedEOF)
	case err != nil:
		return frame{}, l.broke(err)
	case k == wire.Error:
		e := new(api.Error)
		if err := json.Unmarshal(p, e); err != nil || e.Message == "" {
			return frame{}, errors.New("the other side ended the copy with an error that says nothing")
		}
		e.Message = l.from(e.Message)
		return frame{}, toldError{e}
	}
	return parse(k, p)
}

// toldError is the error with which the other side ended the copy: it is not told back.
type toldError struct{ err *api.Error }

func (e toldError) Error() string { return e.err.Error() }
func (e toldError) Unwrap() error { return e.err }

// fail ends the stream for an error of this side, which the other one is told.
func (l *line) fail(ctx context.Context, err error) {
	if ctx.Err() == nil && !errors.As(err, new(toldError)) && !errors.As(err, new(errBroke)) {
		_ = l.st.Conn.SetWriteDeadline(time.Now().Add(failWithin))
		if l.flush() == nil {
			l.st.Fail(err)
		}
	}
	_ = l.st.Close()
}

// failWithin is how long the other side may take to be told an error.
const failWithin = 5 * time.Second

// why is the reason for which the line broke, if the other side has given one. Nobody else reads.
func (l *line) why(err error) error {
	if !errors.As(err, new(errBroke)) {
		return err
	}
	_ = l.st.Conn.SetReadDeadline(time.Now().Add(failWithin))
	for {
		_, rerr := l.read()
		if errors.As(rerr, new(toldError)) {
			return rerr
		}
		if rerr != nil {
			return err
		}
	}
}

// end is the end of a side that did its part, or the reason why it did not.
func (l *line) end(ctx context.Context, err error) (Result, error) {
	r := Result{Problems: int(l.problems.Load()), Files: l.Progress.Files.Load(), Bytes: l.Progress.Bytes.Load()}
	if err == nil {
		return r, nil
	}
	switch {
	case ctx.Err() != nil:
		return r, context.Cause(ctx)
	case errors.As(err, new(errBroke)) && !errors.Is(err, net.ErrClosed):
		return r, api.Errorf(api.CodeUnreachable, "%w", err).WithHint("run it again: it goes on where it was")
	case errors.As(err, new(errBroke)):
		return r, api.Errorf(api.CodeUnreachable, "the line was closed").WithHint("run it again: it goes on where it was")
	}
	return r, err
}

// told notes what the other side could not do.
func (l *line) told(text string) {
	if text != "" { // else it was said of the folder
		l.problem(l.from(text))
	}
}

// from says that the other side says a text.
func (l *line) from(text string) string {
	if l.Peer == "" {
		return text
	}
	return l.Peer + ": " + text
}

// problem notes that something was not copied.
func (l *line) problem(text string) {
	l.problems.Add(1)
	l.Common.Problem(text)
}

// Result says what became of a copy that was done, but for its problems.
type Result struct {
	Files, Bytes int64 // in their places now, with what was there
	Problems     int   // how many things could not be copied
}

// text shortens what is told the other side.
func text(err error) string {
	s := err.Error()
	return s[:min(len(s), maxText)]
}

// full reports whether an error is that of a disk on which there is no more room, and makes one of it that says so.
func full(err error) (error, bool) {
	if e := new(api.Error); errors.As(err, &e) && e.Code == api.CodeRefused {
		return err, true // it was said already
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		what := "the disk is full"
		if errors.Is(err, syscall.EDQUOT) {
			what = "the quota is used up"
		}
		return api.Errorf(api.CodeRefused, "%s: %w", what, err).
			WithHint("make room there and run it again: what has arrived whole is kept, and not sent again by berth sync"), true
	}
	return err, false
}

// unexpected is the error of a frame that should not come now.
func unexpected(f frame) error {
	return fmt.Errorf("the other side sent what can't be right (a frame %q now)", f.kind)
}
