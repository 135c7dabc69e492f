package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/transport/wire"
)

// service serves streams at /v1/exec on a unix socket, with f as what serves one.
func service(t *testing.T, f func(*Stream, ExecRequest)) *AgentClient {
	t.Helper()
	dir, err := os.MkdirTemp("", "ba") // a short path
	require.NoError(t, err)
	socket := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", socket)
	require.NoError(t, err)
	var serving sync.WaitGroup
	handler := func(w http.ResponseWriter, r *http.Request) {
		s, err := Upgrade(w, r)
		if err != nil {
			return
		}
		serving.Add(1)
		defer serving.Done()
		defer s.Close()
		var q ExecRequest
		if err := s.ReadRequest(&q, 0); err != nil {
			s.Fail(err)
			return
		}
		f(s, q)
	}
	srv := &http.Server{Handler: Mux([]Route{{Method: "POST", Path: "/v1/exec", Handler: handler}}, nil)}
	go func() { _ = srv.Serve(ln) }()
	c := &AgentClient{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(func() {
		c.Close()
		_ = srv.Close()
		serving.Wait()
		_ = os.RemoveAll(dir)
	})
	return c
}

func open(t *testing.T, c *AgentClient) *Stream {
	t.Helper()
	s, err := c.OpenExec(t.Context(), ExecRequest{Argv: []string{"x"}})
	require.NoError(t, err)
	return s
}

// TestStdinArrivesWhole sends much more than the window to a server that grants a little at a time.
func TestStdinArrivesWhole(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 300<<10) // 4.7 MiB
	var most atomic.Int64
	c := service(t, func(s *Stream, _ ExecRequest) {
		hash, n, open := sha256.New(), 0, wire.InitialWindow
		for {
			k, p, err := s.Reader.Next()
			if err != nil {
				return
			}
			switch k {
			case wire.Stdin:
				hash.Write(p)
				n, open = n+len(p), open-len(p)
				most.Store(min(most.Load(), int64(open)))
				if open < wire.InitialWindow/2 {
					open += 100_001
					_ = s.Writer.WriteWindow(100_001)
				}
			case wire.StdinEOF:
				_, _ = s.Writer.DataWriter(wire.Stdout).Write(hash.Sum(nil))
				_ = s.Writer.WriteJSON(wire.Exit, wire.ExitStatus{Code: n % 251})
				return
			}
		}
	})
	var out bytes.Buffer
	x, err := open(t, c).Run(t.Context(), StreamIO{Stdin: bytes.NewReader(want), Stdout: &out, Stderr: io.Discard})
	require.NoError(t, err)
	require.Equal(t, len(want)%251, x.Code)
	sum := sha256.Sum256(want)
	require.Equal(t, sum[:], out.Bytes())
	require.GreaterOrEqual(t, most.Load(), int64(0), "more was sent than the window allows")
}

// endless is an input that has no end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestAProcessThatNeverReads is sent input without end: the client stops at the window, a signal and a
// new size still pass, and the exit ends it all.
func TestAProcessThatNeverReads(t *testing.T) {
	got := make(chan int, 1)
	c := service(t, func(s *Stream, _ ExecRequest) {
		n, sized := 0, false
		for {
			k, p, err := s.Reader.Next()
			if err != nil {
				return
			}
			switch k {
			case wire.Stdin:
				n += len(p)
				if n == wire.InitialWindow {
					_ = s.Writer.WriteJSON(wire.Started, wire.Start{PID: 1})
				}
			case wire.Resize:
				sized = string(p) == `{"rows":7,"cols":9}`
			case wire.Signal:
				got <- n
				code := 1
				if string(p) == "TERM" && sized {
					code = 143
				}
				_ = s.Writer.WriteJSON(wire.Exit, wire.ExitStatus{Code: code, Signal: "TERM"})
				return
			}
		}
	})
	signals, sizes := make(chan string, 1), make(chan wire.Size)
	full := make(chan struct{})
	go func() {
		<-full
		sizes <- wire.Size{Rows: 7, Cols: 9}
		signals <- "TERM"
	}()
	x, err := open(t, c).Run(t.Context(), StreamIO{Stdin: endless{}, Stdout: io.Discard, Stderr: io.Discard,
		Signals: signals, Resize: sizes,
		Started: func(wire.Start) { close(full) }})
	require.NoError(t, err)
	require.Equal(t, wire.ExitStatus{Code: 143, Signal: "TERM"}, x)
	require.Equal(t, wire.InitialWindow, <-got, "no more than the window is sent")
}

// TestAnErrorInTheMiddleIsTheServers has the server give up while output flows and input is blocked.
func TestAnErrorInTheMiddleIsTheServers(t *testing.T) {
	c := service(t, func(s *Stream, _ ExecRequest) {
		_, _ = s.Writer.DataWriter(wire.Stdout).Write([]byte("so far"))
		s.Fail(Errorf(CodeForbidden, "no further").WithHint("ask"))
	})
	var out bytes.Buffer
	_, err := open(t, c).Run(t.Context(), StreamIO{Stdin: endless{}, Stdout: &out, Stderr: io.Discard})
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, Error{Code: CodeForbidden, Message: "no further", Hint: "ask"}, *e)
	require.Equal(t, "so far", out.String())
}

// TestARefusalIsReadThoughInputFailed refuses the request and hangs up at once.
func TestARefusalIsReadThoughInputFailed(t *testing.T) {
	c := service(t, func(s *Stream, _ ExecRequest) { s.Fail(Errorf(CodeNotFound, "no such program")) })
	for range 50 {
		_, err := open(t, c).Run(t.Context(), StreamIO{Stdout: io.Discard, Stderr: io.Discard})
		require.Equal(t, CodeNotFound, AsError(err).Code, "%v", err)
	}
}

func TestALineThatBreaksIsSaid(t *testing.T) {
	c := service(t, func(s *Stream, _ ExecRequest) { _, _ = s.Conn.Write([]byte{'o', 0, 0, 0, 9, 'c', 'u', 't'}) })
	_, err := open(t, c).Run(t.Context(), StreamIO{Stdout: io.Discard, Stderr: io.Discard})
	require.Equal(t, CodeUnreachable, AsError(err).Code)
	require.ErrorContains(t, err, "the line broke")
}

// TestCancelHangsUp gives up on a stream whose input and output are silent; the server sees the end.
func TestCancelHangsUp(t *testing.T) {
	ended := make(chan error, 1)
	c := service(t, func(s *Stream, _ ExecRequest) {
		_ = s.Writer.WriteJSON(wire.Started, wire.Start{})
		for {
			if _, _, err := s.Reader.Next(); err != nil {
				ended <- err
				return
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	in, _ := io.Pipe() // never answers a Read
	_, err := open(t, c).Run(ctx, StreamIO{Stdin: in, Stdout: io.Discard, Stderr: io.Discard,
		Started: func(wire.Start) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	require.Error(t, <-ended)
}

// TestOpeningIsGivenUp cancels while the service does not answer the upgrade.
func TestOpeningIsGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	here, there := net.Pipe()
	go func() {
		_, _ = there.Read(make([]byte, 1))
		cancel()
	}()
	c := &AgentClient{Dial: func(context.Context) (net.Conn, error) { return here, nil }}
	_, err := c.OpenExec(ctx, ExecRequest{})
	require.ErrorIs(t, err, context.Canceled)
	_ = there.Close()
}

// brokenWriter fails after its first write.
type brokenWriter struct{ n int }

func (b *brokenWriter) Write(p []byte) (int, error) {
	if b.n++; b.n > 1 {
		return 0, errors.New("no space left")
	}
	return len(p), nil
}

func TestOutputThatCannotBeWrittenEndsTheStream(t *testing.T) {
	c := service(t, func(s *Stream, _ ExecRequest) {
		w := s.Writer.DataWriter(wire.Stdout)
		for {
			if _, err := w.Write(make([]byte, 1000)); err != nil {
				return
			}
		}
	})
	_, err := open(t, c).Run(t.Context(), StreamIO{Stdout: &brokenWriter{}, Stderr: io.Discard})
	require.ErrorContains(t, err, "no space left")
}

// TestNotAStream answers the upgrade with an error document, with none, and with rubbish.
func TestNotAStream(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		want   Code
	}{
		"error document": {"HTTP/1.1 404 Not Found\r\nContent-Length: 47\r\n\r\n" +
			`{"error":{"code":"not_found","message":"gone"}}`, CodeNotFound},
		"plain text": {"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\nboom", CodeFailed},
		"rubbish":    {"SSH-2.0-OpenSSH\r\n", CodeUnreachable},
		"nothing":    {"", CodeUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := net.Pipe()
			go func() {
				_, _ = there.Read(make([]byte, 64<<10))
				_, _ = io.WriteString(there, c.answer)
				_ = there.Close()
			}()
			client := &AgentClient{Dial: func(context.Context) (net.Conn, error) { return here, nil }}
			_, err := client.OpenExec(t.Context(), ExecRequest{})
			require.Equal(t, c.want, AsError(err).Code, "%v", err)
		})
	}
}

// FuzzStreamFromServer feeds a client whatever a broken agent may send: it ends, with an error or an
// exit status, and never panics.
func FuzzStreamFromServer(f *testing.F) {
	f.Add([]byte("o\x00\x00\x00\x02hix\x00\x00\x00\x0a{\"code\":7}"))
	f.Add([]byte("w\x00\x00\x00\x01\x00"))
	f.Add([]byte("w\x00\x00\x00\x04\xff\xff\xff\xffE\x00\x00\x00\x02{}"))
	f.Add([]byte("S\x00\x00\x00\x01[z\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		here, there := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, there) }()
		go func() {
			_, _ = there.Write(b)
			_ = there.Close()
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		_, err := NewStream(here, nil).Run(ctx, StreamIO{Stdin: strings.NewReader("in"), Stdout: io.Discard,
			Stderr:  io.Discard,
			Started: func(wire.Start) {}})
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		if err != nil {
			require.NotEmpty(t, err.Error())
		}
	})
}

// FuzzReadCaller reads the header with which a client says who it is.
func FuzzReadCaller(f *testing.F) {
	good, _ := json.Marshal(CallerDocument{ClientID: "c", Interactive: true, Env: map[string]string{"A": "b"}})
	f.Add(base64.StdEncoding.EncodeToString(good))
	f.Add("e30=")
	f.Add("!")
	f.Add("bnVsbA==")
	f.Fuzz(func(t *testing.T, h string) {
		r := &http.Request{Header: http.Header{CallerHeader: {h}}}
		d, err := ReadCaller(r)
		if err != nil {
			require.Equal(t, CodeUsage, AsError(err).Code)
			return
		}
		_, err = json.Marshal(d)
		require.NoError(t, err)
	})
}

// FuzzReadJSON reads the body of a request into a document.
func FuzzReadJSON(f *testing.F) {
	f.Add([]byte(`{"name":"vision","tags":{"a":"b"}}`))
	f.Add([]byte(`{"nam":1}`))
	f.Add([]byte("{\"name\":\"\xff\"} trailing"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := http.NewRequest(http.MethodPost, "http://berth/v1/instances", bytes.NewReader(b))
		require.NoError(t, err)
		var q CreateRequest
		if err := ReadJSON(r, &q); err != nil {
			require.Equal(t, CodeUsage, AsError(err).Code)
		}
	})
}
