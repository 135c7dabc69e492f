package ssh

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
	"berth/backend/transport/wire"
)

// screen collects a terminal's output and waits for text in it.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *screen) wait(t *testing.T, text string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the terminal shows %q", s)
		}
	}()
	eventually(t, "the terminal shows "+text, func() bool { return strings.Contains(s.String(), text) })
}

func TestTerminalOverPlainSSH(t *testing.T) {
	sshdtest.NeedTerminals(t)
	t.Parallel()
	srv := sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t).trust(srv)
	w.hosts(srv.Stanza("box", w.known), srv.Stanza("own", w.known))
	ctx := w.ctx(nil)
	own, err := w.m.Conn(ctx, "i-own", openSSHTarget("own"))
	require.NoError(t, err)
	for name, c := range map[string]*Conn{"own client": w.conn(ctx, "box"), "the user's ssh": own} {
		t.Run(name, func(t *testing.T) {
			type ended struct {
				st  wire.ExitStatus
				err error
			}
			open := func(req api.TerminalRequest) (*screen, *input2, chan wire.Size, chan struct{}, chan ended) {
				s := stream(t, func(s *api.Stream) { c.ServeTerminal(ctx, s, req) })
				out, in, resize, detach, done := &screen{}, newInput2(), make(chan wire.Size), make(chan struct{}),
					make(chan ended, 1)
				go func() {
					st, err := s.Run(ctx, api.StreamIO{Stdin: in, Stdout: out, Stderr: out, Resize: resize, Detach: detach})
					done <- ended{st, err}
				}()
				return out, in, resize, detach, done
			}
			out, in, resize, _, done := open(api.TerminalRequest{Term: "xterm", Rows: 30, Cols: 100, Argv: []string{"sh"},
				Dir: "/usr", Env: []string{"PS1=ready "}})
			out.wait(t, "ready")
			in.say("stty size; pwd; tty >/dev/null && echo is-a-$((1+1))-tty\n")
			out.wait(t, "30 100")
			out.wait(t, "/usr")
			out.wait(t, "is-a-2-tty")
			resize <- wire.Size{Rows: 11, Cols: 22}
			require.NoError(t, poll(func() error {
				in.say("stty size\n")
				if !strings.Contains(out.String(), "11 22") {
					return errNoSocket
				}
				return nil
			}))
			in.say("exit 5\n")
			got := <-done
			require.NoError(t, got.err)
			require.Equal(t, 5, got.st.Code)

			out, _, _, detach, done := open(api.TerminalRequest{Rows: 5, Cols: 5, Argv: []string{"sh", "-c",
				"echo on; exec sleep 100"}})
			out.wait(t, "on")
			close(detach)
			require.Equal(t, "detached", (<-done).st.Reason)

			// the login shell
			for _, req := range []api.TerminalRequest{{Rows: 24, Cols: 80}, {Rows: 24, Cols: 80, Dir: "/usr"}} {
				out, in, _, _, done = open(req)
				in.say("echo at $PWD $((40+2))\nexit 6\n")
				out.wait(t, "42")
				require.Equal(t, 6, (<-done).st.Code)
				if req.Dir != "" {
					require.Contains(t, out.String(), "at /usr 42")
				}
			}

			_, _, _, _, done = open(api.TerminalRequest{ID: "1"})
			require.Equal(t, api.CodeNotFound, api.AsError((<-done).err).Code)
		})
	}
}

// input2 is a standard input that says what it is told.
type input2 struct{ ch chan []byte }

func newInput2() *input2                     { return &input2{make(chan []byte, 1000)} }
func (i *input2) say(s string)               { i.ch <- []byte(s) }
func (i *input2) Read(p []byte) (int, error) { return copy(p, <-i.ch), nil }

func TestStdinIsHeldBack(t *testing.T) {
	t.Parallel()
	srv := sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t).trust(srv)
	w.hosts(srv.Stanza("box", w.known))
	ctx := w.ctx(nil)
	c := w.conn(ctx, "box")
	// A process that never reads, fed more than all windows hold, is still ended by a signal.
	s := stream(t, func(s *api.Stream) { c.ServeExec(ctx, s, api.ExecRequest{Argv: []string{"sleep", "100"}}) })
	signals := make(chan string)
	started := make(chan struct{})
	done := make(chan wire.ExitStatus, 1)
	fed := &endless{full: make(chan struct{})}
	go func() {
		st, err := s.Run(ctx, api.StreamIO{Stdin: fed, Stdout: &screen{}, Stderr: &screen{}, Signals: signals,
			Started: func(wire.Start) { close(started) }})
		require.NoError(t, err)
		done <- st
	}()
	<-started
	<-fed.full
	signals <- "TERM"
	require.Equal(t, wire.ExitStatus{Code: 143, Signal: "TERM"}, <-done)

	// A process that reads slowly gets every byte.
	r := plain(t, ctx, c, api.ExecRequest{Argv: []string{"sh", "-c", "sleep 0.2; wc -c"}}, strings.Repeat("x", 9<<20))
	require.Equal(t, "9437184", strings.TrimSpace(r.out))
}

// endless gives zeros; full is closed once more was taken than the client's own window holds.
type endless struct {
	n    int
	once sync.Once
	full chan struct{}
}

func (e *endless) Read(p []byte) (int, error) {
	if e.n += len(p); e.n > wire.InitialWindow {
		e.once.Do(func() { close(e.full) })
	}
	return len(p), nil
}
