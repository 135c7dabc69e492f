package ui_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/transport/wire"
	"berth/gpu"
	"berth/ui"
	"berth/ui/uitest"
)

// shellRoute serves a real shell, that ends with its connection.
func shellRoute(t *testing.T) api.Route {
	return api.Route{Method: "POST", Path: "/v1/instances/{name}/terminal", Handler: func(w http.ResponseWriter,
		r *http.Request) {
		st, err := api.Upgrade(w, r)
		if err != nil {
			return
		}
		defer st.Close()
		var req api.TerminalRequest
		if st.ReadRequest(&req, 0) != nil {
			return
		}
		cmd := exec.Command("sh")
		cmd.Env = append(os.Environ(), "PS1=$ ")
		ptm, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: req.Rows, Cols: req.Cols})
		if err != nil {
			st.Fail(err)
			return
		}
		_ = st.Writer.WriteJSON(wire.Started, wire.Start{Terminal: "t1"})
		done := make(chan struct{})
		go func() {
			defer close(done)
			buf := make([]byte, 4096)
			for {
				n, err := ptm.Read(buf)
				if n > 0 {
					_ = st.Writer.Write(wire.Stdout, buf[:n])
				}
				if err != nil {
					break
				}
			}
			_ = cmd.Wait()
			_ = st.Writer.WriteJSON(wire.Exit, wire.ExitStatus{Code: cmd.ProcessState.ExitCode()})
		}()
		for {
			k, p, err := st.Reader.Next()
			if err != nil {
				break
			}
			if k == wire.Stdin {
				_, _ = ptm.Write(p)
			}
			if k == wire.Detach {
				_ = st.Writer.WriteJSON(wire.Exit, wire.ExitStatus{Reason: "detached"})
				break
			}
		}
		_ = cmd.Process.Kill()
		_ = ptm.Close()
		<-done
	}}
}

// openServed opens the dashboard on a terminal over a real client.
func openServed(t *testing.T, s *uitest.Server) *console {
	t.Helper()
	c := newConsole(t)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		c.done <- ui.Run(ctx, ui.Options{NewClient: s.Client, In: c.tty, Out: c.tty,
			Getenv: func(k string) string { return utf8Env[k] }})
	}()
	return c
}

func TestOverARealClient(t *testing.T) {
	s := uitest.Serve(t, uitest.New(nil, uitest.Small(time.Now())...), shellRoute(t))
	c := openServed(t, s)
	c.sees("notebook")

	// A question of the service becomes a dialog, and its answer goes back.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	got := make(chan api.Answer, 1)
	ask := func(q api.Question) {
		go func() {
			a, err := s.Ask(ctx, q)
			if err == nil {
				got <- a
			}
		}()
		c.sees(q.Title)
	}
	ask(api.Question{ID: "q1", Kind: "secret", Title: "Your passphrase"})
	c.types("hunter2\r")
	require.Equal(t, api.Answer{Value: "hunter2"}, <-got)
	require.NotContains(t, c.output(), "hunter2")

	// The terminal goes to a shell and comes back; a question meanwhile is asked in the shell.
	c.types("/notebook\rt")
	c.sees("\x1b[?1049l")
	c.types("echo in-$((40+2))-shell\r")
	c.sees("in-42-shell")
	ask(api.Question{ID: "q2", Kind: "confirm", Title: "A question in the shell"})
	c.types("yes\r")
	require.Equal(t, api.Answer{Value: "yes"}, <-got)
	c.forget()
	c.types("echo again-$((40+2))\r")
	c.sees("again-42")
	c.types("\r~.")
	c.sees("notebook: detached; the shell goes on")

	// The next keys are the dashboard's, all of them.
	c.forget()
	c.types("s")
	c.sees("Stop notebook?")
	c.types("y")
	c.sees("stopping")
	require.Eventually(t, func() bool { return strings.Contains(strings.Join(s.WS.Log(), "\n"), "stop notebook") },
		2*time.Minute, time.Millisecond)
	ask(api.Question{ID: "q3", Kind: "confirm", Title: "The last question"})
	c.types("\x1b")
	require.Equal(t, api.Answer{Refused: true}, <-got)

	// ctrl-C means the question, not the dashboard.
	ask(api.Question{ID: "q4", Kind: "secret", Title: "A question to interrupt"})
	c.types("\x03")
	require.Equal(t, api.Answer{Refused: true}, <-got)

	// One that has ended goes, and the next one comes.
	qctx, end := context.WithCancel(ctx)
	over := make(chan error, 1)
	go func() {
		_, err := s.Ask(qctx, api.Question{ID: "q5", Kind: "confirm", Title: "A question that ends"})
		over <- err
	}()
	c.sees("A question that ends")
	end()
	require.ErrorIs(t, <-over, context.Canceled)
	ask(api.Question{ID: "q6", Kind: "confirm", Title: "A question afterwards"})
	c.types("\x1b")
	require.Equal(t, api.Answer{Refused: true}, <-got)
	c.types("q")
	require.NoError(t, c.ends())
}

// Leaving the dashboard refuses the question that is open.
func TestLeavingRefusesWhatIsAsked(t *testing.T) {
	s := uitest.Serve(t, uitest.New(nil, uitest.Small(time.Now())...))
	c := newConsole(t)
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		c.done <- ui.Run(ctx, ui.Options{NewClient: s.Client, In: c.tty, Out: c.tty,
			Getenv: func(k string) string { return utf8Env[k] }})
	}()
	got := make(chan api.Answer, 1)
	go func() {
		a, err := s.Ask(t.Context(), api.Question{ID: "q1", Kind: "confirm", Title: "A question that stays open"})
		if err == nil {
			got <- a
		}
	}()
	c.sees("A question that stays open")
	leave()
	require.NoError(t, c.ends())
	require.Equal(t, api.Answer{Refused: true}, <-got)
}

// Opened for one instance it is a verb like others: ctrl-C and ctrl-D at a question end it, and so does q.
func TestTheVerbTopEnds(t *testing.T) {
	for key, want := range map[string]error{"\x03": api.ErrInterrupted, "\x04": api.ErrInterrupted, "\x1bq": nil} {
		s := uitest.Serve(t, uitest.New(nil, uitest.Small(time.Now())...))
		c := newConsole(t)
		go func() {
			c.done <- ui.Run(t.Context(), ui.Options{NewClient: s.Client, In: c.tty, Out: c.tty, Top: "i-0001",
				Getenv: func(k string) string { return utf8Env[k] }})
		}()
		c.sees(" › ")
		got := make(chan api.Answer, 1)
		go func() {
			if a, err := s.Ask(t.Context(), api.Question{ID: "q1", Kind: "secret", Title: "Your passphrase"}); err == nil {
				got <- a
			}
		}()
		c.sees("Your passphrase")
		c.types(key[:1])
		require.Equal(t, api.Answer{Refused: true}, <-got, "%q", key)
		c.types(key[1:])
		require.ErrorIs(t, c.ends(), want, "%q", key)
	}
}

// The whole way of the figures: the fleet's stream, an agent's, its history, a signal, an acknowledgement, and a
// terminal that rings.
func TestFiguresOverARealClient(t *testing.T) {
	ws := uitest.New(nil, uitest.Small(time.Now())...)
	ws.Measure(time.Now())
	s := uitest.Serve(t, ws)
	c := newConsole(t)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		c.done <- ui.Run(ctx, ui.Options{NewClient: s.Client, Config: ui.Config{Notify: "osc9"}, Top: "train-1", In: c.tty,
			Out: c.tty, Getenv: func(k string) string { return utf8Env[k] }})
	}()
	c.sees("has fallen off the bus")
	c.sees("python train.py")
	c.types("h")
	c.sees("GPU 0 utilisation")
	c.sees("⣿")
	logged := func(what string) {
		t.Helper()
		require.Eventually(t, func() bool { return strings.Contains(strings.Join(ws.Log(), "\n"), what) }, 2*time.Minute,
			time.Millisecond, what)
	}
	logged("history train-1 [gpu_utilization_percent]")
	c.types("\x1b")
	time.Sleep(50 * time.Millisecond) // esc and a key at once are alt and the key
	c.types("\t\t\tx\r")
	c.sees("Send TERM to")
	c.types("y")
	logged("TERM other=false")
	c.types("!")
	c.sees("What to do")
	c.types("a")
	logged("ack=true")
	l, _ := uitest.FiguresOf(uitest.Small(time.Now())[5], time.Now())
	l.Attention = []api.Attention{{Finding: gpu.Finding{ID: "gpu-xid:x", Rule: "gpu-xid", Severity: "critical",
		Subject: "GPU 0", Text: "XID 48", Since: time.Now()}}}
	ws.PutFigures(*l)
	c.sees("\x1b]9;scratch, GPU 0: XID 48\a")
	c.types("\x03")
	require.NoError(t, c.ends())
}
