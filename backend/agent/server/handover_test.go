package server_test

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
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/exec"
	"berth/backend/agent/part"
	"berth/backend/agent/server"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
	"berth/backend/base/flock"
	"berth/backend/base/version"
	"berth/backend/transport/wire"
)

// notes are the file that a part of two agents writes to, of which only one may at a time.
type notes struct {
	mu      sync.Mutex
	owners  int
	drained chan struct{} // closed when the drain begins
	release chan struct{} // lets it end
}

func (n *notes) part(h *part.Host) part.Part {
	own := func(by int) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.owners += by; n.owners > 1 {
			panic("two agents have the records")
		}
	}
	drained := false
	// The paths are those of terminals, so that the client has methods for them.
	stream := func(w http.ResponseWriter, r *http.Request) {
		var req api.TerminalRequest
		h.Stream(w, r, &req, func(s *api.Stream) error { return s.Writer.WriteJSON(wire.Exit, wire.ExitStatus{Code: 9}) })
	}
	list := func(w http.ResponseWriter, _ *http.Request) {
		api.WriteJSON(w, http.StatusOK, []api.Terminal{{ID: "note"}})
	}
	return part.Part{Name: "notes",
		Routes: append(get("/v1/terminals", list), api.Route{Method: "POST", Path: "/v1/terminal",
			Needs: api.Needs(api.ActionAccess), Handler: stream}),
		Start: func(context.Context) error { own(1); return nil },
		Drain: func() {
			close(n.drained)
			<-n.release
			own(-1)
			drained = true
		},
		Stop: func() {
			if !drained {
				own(-1)
			}
		}}
}

var newer = version.Version{Number: "99.0.0", Built: time.Unix(1, 0).UTC()}

// conn is a connection on which the agent has answered once: it was accepted.
func conn(t *testing.T, socket string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	r := bufio.NewReader(c)
	_, _ = io.WriteString(c, "GET /v1/info HTTP/1.1\r\nHost: berth\r\n\r\n")
	res, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, res.Body)
	require.NoError(t, err)
	return c, r
}

// dialsFirst is a client that uses a connection that there is, and makes its own from then on.
func dialsFirst(first net.Conn, socket string) *api.AgentClient {
	conns := make(chan net.Conn, 1)
	conns <- first
	return &api.AgentClient{Dial: func(ctx context.Context) (net.Conn, error) {
		select {
		case c := <-conns:
			return c, nil
		default:
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}
	}}
}

// TestHandOverRefusesNobody stops the time in the middle of a hand-over. Who is connected to the older agent is served
// by it, or refused in a way that makes its client ask again; who connects then waits for the newer one.
func TestHandOverRefusesNobody(t *testing.T) {
	t.Parallel()
	o := agenttest.Options(t)
	n := &notes{drained: make(chan struct{}), release: make(chan struct{})}
	parts := news{exec.New, n.part}
	_, old := servertest.Serve(t, server.Config{Options: o, Parts: parts})
	running, err := old.OpenExec(t.Context(),
		servertest.Sh("echo first; read x; echo $x; (sleep 0.2; echo late) & exit 3"))
	require.NoError(t, err)
	first, firstReader := conn(t, o.Socket)
	second, secondReader := conn(t, o.Socket)
	third, _ := conn(t, o.Socket)
	fourth, _ := conn(t, o.Socket)

	begun := make(chan *server.Agent, 1)
	go func() {
		a, err := server.New(context.Background(), server.Config{Options: o, Takeover: true, Version: newer,
			Parts: news{exec.New, n.part}, Log: servertest.Quiet})
		if err != nil {
			t.Error(err)
		}
		begun <- a
	}()
	<-n.drained

	// A command on a connection that the older one has accepted.
	body := `{"argv":["sh","-c","echo served; exit 4"]}`
	_, err = fmt.Fprintf(first, "POST /v1/exec HTTP/1.1\r\nHost: berth\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n",
		api.StreamProtocol)
	require.NoError(t, err)
	require.NoError(t, wire.NewWriter(first).WriteJSON(wire.Request, json.RawMessage(body)))
	res, err := http.ReadResponse(firstReader, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
	var out strings.Builder
	x, err := api.NewStream(first, firstReader).Run(t.Context(), api.StreamIO{Stdout: &out, Stderr: io.Discard})
	require.NoError(t, err)
	require.Equal(t, 4, x.Code)
	require.Equal(t, "served\n", out.String())

	// What touches records is refused there, and the refusal says that asking again helps.
	_, err = io.WriteString(second, "GET /v1/terminals HTTP/1.1\r\nHost: berth\r\n\r\n")
	require.NoError(t, err)
	res, err = http.ReadResponse(secondReader, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)

	// So does Berth's own client.
	var wg sync.WaitGroup
	wg.Go(func() {
		c := dialsFirst(third, o.Socket)
		defer c.Close()
		if l, err := c.Terminals(context.Background()); err != nil || len(l) != 1 {
			t.Error(l, err)
		}
	})
	wg.Go(func() {
		c := dialsFirst(fourth, o.Socket)
		s, err := c.OpenTerminal(context.Background(), api.TerminalRequest{})
		if err != nil {
			t.Error(err)
			return
		}
		if x, err := s.Run(context.Background(), api.StreamIO{}); err != nil || x.Code != 9 {
			t.Error(x, err)
		}
	})

	// Who connects now is not refused: the newer one answers, as soon as it serves.
	asked := make(chan api.AgentInfo, 1)
	later := server.NewClient(o.Socket)
	defer later.Close()
	go func() {
		info, err := later.Info(context.Background())
		if err != nil {
			t.Error(err)
		}
		asked <- info
	}()
	select {
	case info := <-asked:
		t.Fatalf("%s answered before the records were its own", info.Version)
	case <-time.After(50 * time.Millisecond): // a wrong answer would be here; a right one can't
	}
	close(n.release)
	a := <-begun
	require.NotNil(t, a)
	n.drained, n.release = make(chan struct{}), make(chan struct{})
	served := make(chan error, 1)
	go func() { served <- a.Serve() }()
	info := <-asked
	require.Equal(t, newer.Number, info.Version)
	require.Empty(t, info.Warnings, "the records are its own alone")
	wg.Wait()

	// The command that ran goes on to its end, with what it leaves behind.
	out.Reset()
	x, err = running.Run(t.Context(), api.StreamIO{Stdin: strings.NewReader("second\n"), Stdout: &out, Stderr: io.Discard})
	require.NoError(t, err)
	require.Equal(t, 3, x.Code)
	require.Equal(t, "first\nsecond\nlate\n", out.String())
	require.NoError(t, later.Stop(t.Context(), api.StopRequest{}))
	require.NoError(t, <-served)
	require.NoFileExists(t, o.Socket)
}

// TestHandOverToABuildThatDoesNotKnowThisProtocol: its request asks for nothing but the socket's path and the lock.
func TestHandOverToABuildThatDoesNotKnowThisProtocol(t *testing.T) {
	t.Parallel()
	o := agenttest.Options(t)
	a, err := server.New(t.Context(), server.Config{Options: o, Parts: news{exec.New}, Log: servertest.Quiet})
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- a.Serve() }()
	c := server.NewClient(o.Socket)
	defer c.Close()
	s, err := c.OpenExec(t.Context(), servertest.Sh("read x; echo $x"))
	require.NoError(t, err)
	b, err := json.Marshal(newer)
	require.NoError(t, err)
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.Dial(ctx) }}}
	res, err := h.Post("http://berth/v1/handover", "application/json", strings.NewReader(string(b)))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.NoFileExists(t, o.Socket)
	lock, err := flock.OpenWithin(t.Context(), o.LockPath(), time.Minute) // a child that is just forked has it, too
	require.NoError(t, err, "the lock is free")
	require.NoError(t, lock.Close())
	var out strings.Builder
	_, err = s.Run(t.Context(), api.StreamIO{Stdin: strings.NewReader("on\n"), Stdout: &out, Stderr: io.Discard})
	require.NoError(t, err)
	require.Equal(t, "on\n", out.String())
	require.NoError(t, <-served)
}

// TestANewerAgentThatDiesDuringTheHandOver leaves an instance on which the next agent starts.
func TestANewerAgentThatDiesDuringTheHandOver(t *testing.T) {
	t.Parallel()
	o := agenttest.Options(t)
	n := &notes{drained: make(chan struct{}), release: make(chan struct{})}
	a, err := server.New(t.Context(), server.Config{Options: o, Parts: news{exec.New, n.part}, Log: servertest.Quiet})
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- a.Serve() }()
	ctx, cancel := context.WithCancel(t.Context())
	died := make(chan error, 1)
	go func() {
		_, err := server.New(ctx, server.Config{Options: o, Takeover: true, Version: newer, Log: servertest.Quiet})
		died <- err
	}()
	<-n.drained
	cancel()
	require.Error(t, <-died)
	close(n.release)
	require.NoError(t, <-served)
	_, c := servertest.Serve(t, server.Config{Options: o, Parts: news{exec.New}})
	r, err := servertest.Execute(t, c, servertest.Sh("echo fine"), "")
	require.NoError(t, err)
	require.Equal(t, "fine\n", r.Stdout)
	_, err = os.Stat(o.Socket)
	require.NoError(t, err)
}

// poke makes one call that may not be made twice, as soon as there is a socket.
func poke(socket string) error {
	conn, err := net.Dial("unix", socket)
	for errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) { // as package dial does
		time.Sleep(time.Millisecond)
		conn, err = net.Dial("unix", socket)
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /v1/poke HTTP/1.1\r\nHost: berth\r\nContent-Length: 0\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return fmt.Errorf("cut off: %w", err)
	}
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusServiceUnavailable { // which says: ask again
		return fmt.Errorf("answered with %s", res.Status)
	}
	return nil
}

// poked has a route for poke.
var poked = news{func(*part.Host) part.Part {
	return part.Part{Name: "poked", Routes: []api.Route{{Method: "POST", Path: "/v1/poke", Needs: api.Needs(api.ActionWrite),
		Handler: ok}}}
}}

// TestNoCallIsCutOffWithTheSocket: while the socket is made anew, and while the agent is stopped and another one
// started, who is in the socket's queue gets an answer.
func TestNoCallIsCutOffWithTheSocket(t *testing.T) {
	t.Parallel()
	o := agenttest.Options(t)
	start := func() (*server.Agent, chan error) {
		t.Helper()
		var a *server.Agent
		agenttest.Eventually(t, "the lock", func() bool {
			var err error
			a, err = server.New(context.Background(), server.Config{Options: o, Parts: poked, Log: servertest.Quiet})
			return err == nil
		})
		served := make(chan error, 1)
		go func() { served <- a.Serve() }()
		return a, served
	}
	a, served := start()
	stop := make(chan struct{})
	var calls, failed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := poke(o.Socket); err != nil && failed.Add(1) < 5 {
					t.Error(err)
				}
				calls.Add(1)
			}
		})
	}
	more := func() {
		n := calls.Load() + 20
		agenttest.Eventually(t, "more calls", func() bool { return calls.Load() > n })
	}
	more()
	for range 20 {
		a.Signal(syscall.SIGUSR1)
		more()
	}
	for range 10 {
		a.Signal(syscall.SIGTERM)
		var next *server.Agent
		var nextServed chan error
		next, nextServed = start()
		more()
		require.NoError(t, <-served)
		a, served = next, nextServed
	}
	close(stop)
	wg.Wait()
	require.Zero(t, failed.Load(), "of %d calls", calls.Load())
	a.Signal(syscall.SIGTERM)
	require.NoError(t, <-served)
	require.NoFileExists(t, o.Socket)
}
