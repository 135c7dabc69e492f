package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"berth/backend/base/pipe"
	"berth/backend/transport/wire"
)

// StreamProtocol is the protocol named in the HTTP upgrade of a byte stream.
const StreamProtocol = "berth-stream/1"

// Stream is one end of an upgraded connection. Read frames with Reader (one goroutine), write them
// with Writer (any). Close hangs up.
type Stream struct {
	Conn   net.Conn
	Reader *wire.Reader
	Writer *wire.Writer
}

// NewStream makes a Stream on a connection whose bytes already read are in br.
func NewStream(conn net.Conn, br *bufio.Reader) *Stream {
	var r io.Reader = conn
	if br != nil {
		r = br
	}
	return &Stream{Conn: conn, Reader: wire.NewReader(r), Writer: wire.NewWriter(conn)}
}

// Close hangs up.
func (s *Stream) Close() error { return s.Conn.Close() }

// Fail ends a server's stream with an error.
func (s *Stream) Fail(err error) { _ = s.Writer.WriteJSON(wire.Error, AsError(err)) }

// openStream upgrades a new connection to a stream at path and sends req as its first frame, in one
// go: it costs one round trip. A request that an older service can't understand names what it needs (else nil), and
// must be one that such a service refuses. Closing ctx before it returns gives up; afterwards use Close.
func (t *transport) openStream(ctx context.Context, path string, req any, needs *Feature) (*Stream, error) {
	return again(ctx, func() {}, func() (*Stream, error) { return t.openStreamOnce(ctx, path, req, needs) })
}

func (t *transport) openStreamOnce(ctx context.Context, path string, req any, needs *Feature) (*Stream, error) {
	conn, err := t.dial(ctx)
	if err != nil {
		return nil, callError(ctx, err)
	}
	wctx, answered, cancel := t.watched(ctx)
	defer cancel()
	stop := context.AfterFunc(wctx, func() { _ = conn.Close() })
	s, err := upgrade(conn, path, t.caller, t.home, req, needs)
	answered()
	if !stop() && err == nil {
		err = wctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, callError(wctx, err)
	}
	return s, nil
}

func upgrade(conn net.Conn, path, caller string, home Home, req any, needs *Feature) (*Stream, error) {
	w := bufio.NewWriter(conn)
	fmt.Fprintf(w, "POST %s HTTP/1.1\r\nHost: berth\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %s\r\n%s\r\n",
		path, StreamProtocol, CallerHeader, caller, HomeLine(home)+versionLines())
	werr := writeRequest(wire.NewWriter(w), req)
	if werr == nil {
		werr = w.Flush()
	}
	br := bufio.NewReaderSize(conn, 64<<10)
	res, err := http.ReadResponse(br, &http.Request{Method: http.MethodPost})
	if werr != nil && err != nil {
		return nil, werr // whoever refuses a request need not have read it, and is heard
	}
	if err != nil {
		return nil, err
	}
	if err := checkNeeds(needs, res.Header); err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		defer res.Body.Close()
		return nil, readError(res)
	}
	if err := checkAnswer(path, res.Header); err != nil {
		return nil, err
	}
	if werr != nil {
		return nil, werr
	}
	return NewStream(conn, br), nil
}

// writeRequest sends a stream's request.
func writeRequest(w *wire.Writer, req any) error {
	p, err := json.Marshal(req)
	if err != nil {
		return err
	}
	for len(p) > wire.MaxPayload {
		if err := w.Write(wire.RequestPart, p[:wire.MaxPayload]); err != nil {
			return err
		}
		p = p[wire.MaxPayload:]
	}
	return w.Write(wire.Request, p)
}

// StreamIO is what a client connects to a stream. Stdin may be nil. Resize and Signals may be nil.
type StreamIO struct {
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Resize  <-chan wire.Size
	Signals <-chan string    // names without SIG
	Detach  <-chan struct{}  // closed to leave a terminal running
	Started func(wire.Start) // called once, before any output is written
	// StdinFailed is told that Stdin could not be read to its end; what runs sees the end. Without it, the input is
	// just silent from then on.
	StdinFailed func(error)
	// Alive sends what the request promised by its Alive.
	Alive bool
	// Lingers is told who holds the output open of a command that has ended. It may be nil.
	Lingers func(wire.Lingering)
}

// Run connects a client's side of an exec or terminal stream until it ends, and closes the stream. A
// remote error is an *Error. Run does not wait for a Stdin that never returns from Read.
func (s *Stream) Run(ctx context.Context, sio StreamIO) (wire.ExitStatus, error) {
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	done := make(chan struct{})
	defer close(done)
	win := wire.NewCredit(wire.InitialWindow)
	defer win.Close()
	if sio.Stdin != nil {
		go s.sendStdin(sio, win)
	} else {
		_ = s.Writer.Write(wire.StdinEOF, nil) // a server that refused has said why, and hung up: that is read below
	}
	if sio.Resize != nil || sio.Signals != nil || sio.Detach != nil || sio.Alive {
		go s.sendControl(sio, done)
	}
	for {
		k, p, err := s.Reader.Next()
		if err != nil {
			if ctx.Err() != nil {
				return wire.ExitStatus{}, ctx.Err()
			}
			return wire.ExitStatus{}, Errorf(CodeUnreachable, "the line broke: %w", err)
		}
		switch k {
		case wire.Stdout:
			_, err = sio.Stdout.Write(p)
		case wire.Stderr:
			_, err = sio.Stderr.Write(p)
		case wire.Window:
			var n uint32
			if n, err = wire.ParseWindow(p); err == nil && !win.Grant(int(n)) {
				err = errors.New("more may be sent than any service grants")
			}
		case wire.Started:
			var st wire.Start
			if err = json.Unmarshal(p, &st); err == nil && sio.Started != nil {
				sio.Started(st)
			}
		case wire.Lingers:
			var l wire.Lingering
			if err = json.Unmarshal(p, &l); err == nil && sio.Lingers != nil {
				sio.Lingers(l)
			}
		case wire.Exit:
			var x wire.ExitStatus
			return x, json.Unmarshal(p, &x)
		case wire.Error:
			var e Error
			if err := json.Unmarshal(p, &e); err != nil {
				return wire.ExitStatus{}, Errorf(CodeFailed, "reading an error from the stream: %w", err)
			}
			if e.Message == "" {
				return wire.ExitStatus{}, Errorf(CodeFailed,
					"the other side ended the stream with an error that says nothing (code %q)", e.Code)
			}
			return wire.ExitStatus{}, &e
		}
		if err != nil {
			return wire.ExitStatus{}, fmt.Errorf("its output can't be written here: %w", err)
		}
	}
}

func (s *Stream) sendStdin(sio StreamIO, win *wire.Credit) {
	buf := make([]byte, 64<<10)
	file, _ := sio.Stdin.(*os.File)
	if file != nil {
		pipe.Grow(file)
	}
	for {
		n, err := sio.Stdin.Read(buf)
		for p := buf[:n]; len(p) > 0; {
			behind := 0
			if file != nil && n == len(buf) && err == nil {
				behind = min(s.Writer.Splices(file), wire.MaxPayload-len(p))
			}
			k := win.Take(len(p) + behind)
			var werr error
			switch {
			case k == 0:
				return
			case k > len(p):
				werr = s.Writer.WriteWith(wire.Stdin, p, file, k-len(p))
				k = len(p)
			default:
				werr = s.Writer.Write(wire.Stdin, p[:k])
			}
			if werr != nil {
				return
			}
			p = p[k:]
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				if sio.StdinFailed == nil {
					return
				}
				sio.StdinFailed(err)
			}
			_ = s.Writer.Write(wire.StdinEOF, nil)
			return
		}
	}
}

func (s *Stream) sendControl(sio StreamIO, done <-chan struct{}) {
	var alive <-chan time.Time
	if sio.Alive {
		t := time.NewTicker(wire.AliveEvery)
		defer t.Stop()
		alive = t.C
	}
	for {
		var err error
		select {
		case <-done:
			return
		case z := <-sio.Resize:
			err = s.Writer.WriteJSON(wire.Resize, z)
		case g := <-sio.Signals:
			err = s.Writer.Write(wire.Signal, []byte(g))
		case <-alive:
			err = s.Writer.Write(wire.Alive, nil)
		case <-sio.Detach:
			_ = s.Writer.Write(wire.Detach, nil)
			return
		}
		if err != nil {
			return
		}
	}
}
