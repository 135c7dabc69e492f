package attach

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	"golang.org/x/term"

	"berth/backend/api"
	"berth/backend/transport/wire"
)

// user is somebody before a real terminal.
type user struct {
	t    *testing.T
	ptm  *os.File
	tty  *os.File
	mu   sync.Mutex
	seen bytes.Buffer
	old  *term.State
}

func newUser(t *testing.T) *user {
	t.Helper()
	ptm, tty, err := pty.Open()
	require.NoError(t, err)
	require.NoError(t, pty.Setsize(ptm, &pty.Winsize{Rows: 24, Cols: 80}))
	u := &user{t: t, ptm: ptm, tty: tty}
	u.old, err = term.GetState(int(tty.Fd()))
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := ptm.Read(buf)
			u.mu.Lock()
			u.seen.Write(buf[:n])
			u.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = tty.Close()
		_ = ptm.Close()
		<-done
	})
	return u
}

func (u *user) screen() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seen.String()
}

func (u *user) types(s string) {
	_, err := u.ptm.WriteString(s)
	require.NoError(u.t, err)
}

// sees waits until the terminal has shown a text.
func (u *user) sees(s string) {
	u.t.Helper()
	require.Eventually(u.t, func() bool { return strings.Contains(u.screen(), s) }, 2*time.Minute, 5*time.Millisecond,
		"%q in %q", s, u.screen)
}

type outcome struct {
	res Result
	err error
}

func (u *user) attach(ctx context.Context, c *api.WorkspaceClient, name string) <-chan outcome {
	ch := make(chan outcome, 1)
	go func() {
		res, err := Run(ctx, c, name, api.TerminalRequest{}, Terminal{In: u.tty, Out: u.tty})
		ch <- outcome{res, err}
	}()
	return ch
}

func (u *user) ends(ch <-chan outcome) outcome {
	u.t.Helper()
	select {
	case o := <-ch:
		now, err := term.GetState(int(u.tty.Fd()))
		require.NoError(u.t, err)
		require.Equal(u.t, u.old, now, "the terminal is as it was")
		return o
	case <-time.After(2 * time.Minute):
		u.t.Fatalf("the session does not end; on the screen: %q", u.screen())
		return outcome{}
	}
}

func TestShellAndExitCode(t *testing.T) {
	_, c := serve(t, "sh")
	u := newUser(t)
	ch := u.attach(context.Background(), c, "box")
	u.types("stty size; echo $((40+2))x\r")
	u.sees("24 80")
	u.sees("42x")
	u.types("exit 7\r")
	o := u.ends(ch)
	require.NoError(t, o.err)
	require.Equal(t, Result{Code: 7, Terminal: "t1"}, o.res)
	require.Equal(t, "the shell ended with code 7", o.res.String())
}

func TestResize(t *testing.T) {
	_, c := serve(t, "sh")
	u := newUser(t)
	ch := u.attach(context.Background(), c, "box")
	u.types("echo ready$((1+1))\r")
	u.sees("ready2")
	require.NoError(t, pty.Setsize(u.ptm, &pty.Winsize{Rows: 50, Cols: 132}))
	// The test has no controlling terminal of its own that would send the signal.
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGWINCH))
	require.Eventually(t, func() bool {
		u.types("stty size\r")
		return strings.Contains(u.screen(), "50 132")
	}, 2*time.Minute, 50*time.Millisecond)
	u.types("exit\r")
	require.NoError(t, u.ends(ch).err)
}

// TestATerminalThatWasResizedMeanwhile has the size change between the request and the first look at it.
func TestATerminalThatWasResizedMeanwhile(t *testing.T) {
	_, c := serve(t, "sh")
	u := newUser(t)
	s, err := Open(context.Background(), c, "box", api.TerminalRequest{Rows: 24, Cols: 80})
	require.NoError(t, err)
	require.NoError(t, pty.Setsize(u.ptm, &pty.Winsize{Rows: 40, Cols: 90}))
	ch := make(chan outcome, 1)
	go func() {
		res, err := s.Run(context.Background(), Terminal{In: u.tty, Out: u.tty})
		ch <- outcome{res, err}
	}()
	require.Eventually(t, func() bool {
		u.types("stty size\r")
		return strings.Contains(u.screen(), "40 90")
	}, 2*time.Minute, 50*time.Millisecond)
	u.types("exit\r")
	require.NoError(t, u.ends(ch).err)
}

func TestDetachAndAttachAgain(t *testing.T) {
	for _, keys := range []string{"\r~.", "\x1dd"} {
		s, c := serve(t, "sh")
		u := newUser(t)
		ch := u.attach(context.Background(), c, "box")
		u.types("X=kept\recho one$((1+1))\r")
		u.sees("one2")
		u.types(keys)
		o := u.ends(ch)
		require.NoError(t, o.err)
		require.True(t, o.res.Detached)

		// What is typed now belongs to the next program, every key of it.
		u.types("next\n")
		line := make([]byte, 16)
		n, err := u.tty.Read(line)
		require.NoError(t, err)
		require.Equal(t, "next\n", string(line[:n]))

		require.NotContains(t, u.screen(), "\x1b[24;1H")
		ch = u.attach(context.Background(), c, "box")
		u.types("echo still-$X\r")
		u.sees("\x1b[24;1H\n\n\n") // what is sent again is meant for a clean page
		u.sees("still-kept")
		u.types("exit\r")
		require.NoError(t, u.ends(ch).err)
		require.Len(t, s.requests(), 2)
	}
}

func TestDetachFromAServiceThatHangs(t *testing.T) {
	s, c := serve(t, "sh")
	s.mute = true
	u := newUser(t)
	ch := u.attach(context.Background(), c, "box")
	u.types("echo one$((1+1))\r")
	u.sees("one2")
	u.types("\r~.")
	o := u.ends(ch)
	require.NoError(t, o.err)
	require.True(t, o.res.Detached)
}

func TestHelpAndLiteralTilde(t *testing.T) {
	_, c := serve(t, "sh")
	u := newUser(t)
	ch := u.attach(context.Background(), c, "box")
	u.types("echo one$((1+1))\r")
	u.sees("one2")
	u.types("\r~?")
	u.sees("leaves and lets the shell go on")
	for _, k := range []string{"\r", "~", "~", "/bin\recho a~.b\r"} {
		u.types(k)
	}
	u.sees("a~.b")
	u.types("exit\r")
	require.NoError(t, u.ends(ch).err)
}

func TestALineThatDropsIsDialledAgain(t *testing.T) {
	s, c := serve(t, "sh")
	u := newUser(t)
	ch := u.attach(context.Background(), c, "box")
	u.types("X=kept\recho one$((1+1))\r")
	u.sees("one2")
	s.cut()
	u.sees("connecting again")
	u.types("echo back-$X\r")
	u.sees("back-kept")
	reqs := s.requests()
	require.Equal(t, "t1", reqs[len(reqs)-1].ID, "the same terminal")
	u.types("exit 3\r")
	o := u.ends(ch)
	require.NoError(t, o.err)
	require.Equal(t, 3, o.res.Code)
}

func TestAQuestionWhileDiallingAgainIsAskedOnTheTerminal(t *testing.T) {
	s, c := serve(t, "sh")
	s.asks, s.answers = &api.Question{ID: "1", Kind: "secret", Title: "Passphrase of the key"}, make(chan api.Answer, 1)
	var mu sync.Mutex
	var to func(context.Context, api.Question) (api.Answer, error)
	c.Answer = func(ctx context.Context, q api.Question) (api.Answer, error) {
		mu.Lock()
		f := to
		mu.Unlock()
		return f(ctx, q)
	}
	u := newUser(t)
	ch := make(chan outcome, 1)
	go func() {
		res, err := Run(context.Background(), c, "box", api.TerminalRequest{}, Terminal{In: u.tty, Out: u.tty,
			Asker: func(f func(context.Context, api.Question) (api.Answer, error)) {
				mu.Lock()
				to = f
				mu.Unlock()
			}})
		ch <- outcome{res, err}
	}()
	u.types("X=kept\recho one$((1+1))\r")
	u.sees("one2")
	s.cut()
	u.sees("Passphrase of the key")
	u.types("hunter2\r")
	u.sees("\x1b[24;1H") // attached again, on a clean page
	u.types("echo back-$X\r")
	u.sees("back-kept")
	require.NotContains(t, u.screen(), "hunter2")
	u.types("exit\r")
	require.NoError(t, u.ends(ch).err)
}

func TestAnInterruptedQuestionWhileDiallingAgainEndsIt(t *testing.T) {
	for name, key := range map[string]string{"ctrl-C": "\x03", "ctrl-D": "\x04"} {
		s, c := serve(t, "sh")
		s.asks, s.answers = &api.Question{ID: "1", Kind: "secret", Title: "Passphrase of the key"}, make(chan api.Answer, 1)
		asker := make(chan func(context.Context, api.Question) (api.Answer, error), 2)
		c.Answer = func(ctx context.Context, q api.Question) (api.Answer, error) { return (<-asker)(ctx, q) }
		u := newUser(t)
		ch := make(chan outcome, 1)
		go func() {
			res, err := Run(context.Background(), c, "box", api.TerminalRequest{}, Terminal{In: u.tty, Out: u.tty,
				Asker: func(f func(context.Context, api.Question) (api.Answer, error)) { asker <- f }})
			ch <- outcome{res, err}
		}()
		u.types("echo one$((1+1))\r")
		u.sees("one2")
		s.cut()
		u.sees("Passphrase of the key")
		u.types(key)
		require.ErrorIs(t, u.ends(ch).err, api.ErrInterrupted, name)
	}
}

func TestModesAreSwitchedOff(t *testing.T) {
	_, c := serve(t, "sh", "-c", `printf '\033[?1049h\033[?1000;1006h\033[?2004h\033[?25l\033[>1u\033=\033[3;9ron-now'; read x`)
	u := newUser(t)
	ch := u.attach(context.Background(), c, "box")
	u.sees("on-now")
	u.types("\x1dd")
	require.True(t, u.ends(ch).res.Detached)
	for _, off := range []string{"\x1b[?1049l", "\x1b[?1000l", "\x1b[?1006l", "\x1b[?2004l", "\x1b[?25h", "\x1b[<1u",
		"\x1b>", "\x1b[r", "\x1b\\"} {
		u.sees(off)
	}
}

func TestErrors(t *testing.T) {
	_, c := serve(t, "sh")
	u := newUser(t)
	o := u.ends(u.attach(context.Background(), c, "other"))
	require.Equal(t, api.CodeNotFound, api.AsError(o.err).Code)

	ctx, cancel := context.WithCancel(context.Background())
	ch := u.attach(ctx, c, "box")
	u.types("echo one$((1+1))\r")
	u.sees("one2")
	cancel()
	require.ErrorIs(t, u.ends(ch).err, context.Canceled)

	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	_, err = Run(context.Background(), c, "box", api.TerminalRequest{}, Terminal{In: r, Out: w})
	require.Equal(t, api.CodeUsage, api.AsError(err).Code)
	_, err = parseEscape("alt-x")
	require.Error(t, err)
}

func TestQuestionsOnTheRawTerminal(t *testing.T) {
	_, c := serve(t, "sh")
	u := newUser(t)
	asker := make(chan func(context.Context, api.Question) (api.Answer, error), 2)
	ch := make(chan outcome, 1)
	go func() {
		res, err := Run(context.Background(), c, "box", api.TerminalRequest{}, Terminal{In: u.tty, Out: u.tty,
			Escape: "ctrl-b x", Asker: func(f func(context.Context, api.Question) (api.Answer, error)) { asker <- f }})
		ch <- outcome{res, err}
	}()
	ask := <-asker
	got := make(chan api.Answer, 1)
	put := func(q api.Question) {
		go func() {
			a, err := ask(context.Background(), q)
			if err == nil {
				got <- a
			}
		}()
		u.sees(q.Title)
	}
	put(api.Question{Kind: "secret", Title: "Passphrase\x1b[2J please"[:10]})
	u.types("hunter2\r")
	require.Equal(t, api.Answer{Value: "hunter2"}, <-got)
	require.NotContains(t, u.screen(), "hunter2")
	put(api.Question{Kind: "confirm", Title: "Host key?"})
	u.types("yesno\x7f\x7f\r")
	require.Equal(t, api.Answer{Value: "yes"}, <-got)
	put(api.Question{Kind: "text", Title: "Code"})
	u.types("\x1b")
	require.Equal(t, api.Answer{Refused: true}, <-got)
	u.types("echo after$((1+1))\r")
	u.sees("after2")
	u.types("\x02x")
	require.True(t, u.ends(ch).res.Detached)
	require.Nil(t, <-asker)
}

func TestResultsForPeople(t *testing.T) {
	require.Contains(t, Result{Detached: true}.String(), "goes on")
	require.Contains(t, Result{Reason: "replaced"}.String(), "replaced")
	require.Contains(t, Result{Signal: "KILL", Code: 137}.String(), "SIGKILL")
	require.Equal(t, "the shell ended", Result{}.String())
	_ = wire.InitialWindow
}

// FuzzTracked feeds any output and any cut: what is passed on is what came, and restoring writes
// nothing but sequences that switch off.
func FuzzTracked(f *testing.F) {
	f.Add([]byte("\x1b[?1049h\x1b[?25lhello\x1b]0;title"), 5)
	f.Add([]byte("\x1bPq\x1b\x1b[?1000h\x0e\x1b[>4;2m\x1b[=1u"), 3)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var out bytes.Buffer
		tr := &tracked{w: &out}
		cut = max(0, min(cut, len(b)))
		_, _ = tr.Write(b[:cut])
		_, _ = tr.Write(b[cut:])
		if !bytes.Equal(out.Bytes(), b) {
			t.Fatal("output was changed")
		}
		tr.restore()
		rest := out.Bytes()[len(b):]
		if len(rest) > 2048 || !bytes.Contains(rest, []byte("\x1b[?25h")) {
			t.Fatalf("restored by %q", rest)
		}
	})
}
