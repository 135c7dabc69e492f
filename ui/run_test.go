package ui_test

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
	"berth/ui"
	_ "berth/ui/noquery"
	"berth/ui/uitest"
)

// console is somebody before a real terminal on which the dashboard runs.
type console struct {
	t    *testing.T
	ptm  *os.File
	tty  *os.File
	old  *term.State
	mu   sync.Mutex
	seen bytes.Buffer
	done chan error
}

func open(t *testing.T, ws ui.Workspace, env map[string]string, conf ui.Config) *console {
	t.Helper()
	c := newConsole(t)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		c.done <- ui.Run(ctx, ui.Options{Workspace: ws, Config: conf, In: c.tty, Out: c.tty,
			Getenv: func(k string) string { return env[k] }})
	}()
	return c
}

func newConsole(t *testing.T) *console {
	t.Helper()
	ptm, tty, err := pty.Open()
	require.NoError(t, err)
	require.NoError(t, pty.Setsize(ptm, &pty.Winsize{Rows: 24, Cols: 100}))
	c := &console{t: t, ptm: ptm, tty: tty, done: make(chan error, 1)}
	c.old, err = term.GetState(int(tty.Fd()))
	require.NoError(t, err)
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 8192)
		for {
			n, err := ptm.Read(buf)
			c.mu.Lock()
			c.seen.Write(buf[:n])
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = tty.Close()
		_ = ptm.Close()
		<-read
	})
	return c
}

var utf8Env = map[string]string{"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}

func (c *console) output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen.String()
}

func (c *console) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.Reset()
}

func (c *console) sees(s string) {
	c.t.Helper()
	require.Eventually(c.t, func() bool { return strings.Contains(c.output(), s) }, 2*time.Minute,
		2*time.Millisecond, "%q", s)
}

func (c *console) types(s string) {
	_, err := c.ptm.WriteString(s)
	require.NoError(c.t, err)
}

func (c *console) ends() error {
	c.t.Helper()
	select {
	case err := <-c.done:
		now, e := term.GetState(int(c.tty.Fd()))
		require.NoError(c.t, e)
		require.Equal(c.t, c.old, now, "the terminal is as it was")
		return err
	case <-time.After(2 * time.Minute):
		c.t.Fatal("the dashboard does not end")
		return nil
	}
}

func TestRunOnARealTerminal(t *testing.T) {
	ws := uitest.New(nil, uitest.Small(time.Now())...)
	c := open(t, ws, utf8Env, ui.Config{Mouse: true, Defaults: ui.Defaults{Backend: "local"}})
	c.sees("\x1b]11;?") // the terminal is asked for its colour, and never answers
	c.sees("notebook")
	c.types("jj")
	c.sees("\x1b[") // something is drawn
	c.types("n")
	c.sees("create")
	c.types("box-1")
	c.sees("this name is free")
	c.types("\x13") // ctrl-s
	c.sees("preparing the image")
	c.types("\x1b")
	ws.Finish("op-1")
	c.sees("● 5 running")

	// A change that comes from elsewhere is seen.
	ws.Remove("i-0004")
	require.NoError(t, pty.Setsize(c.ptm, &pty.Winsize{Rows: 50, Cols: 200}))
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGWINCH))
	c.sees("ADDRESS")
	c.types("q")
	require.NoError(t, c.ends())
	c.sees("\x1b[?1049l")
	c.sees("\x1b[?1002l")
}

func TestTheTerminalsAnswerRestylesAndIsNoKey(t *testing.T) {
	c := open(t, uitest.New(nil, uitest.Small(time.Now())...), utf8Env, ui.Config{})
	c.sees("notebook")
	const accentLight = "38;2;11;100;150"
	require.NotContains(t, c.output(), accentLight)
	c.types("\x1b]11;rgb:ffff/ffff/ffff\x1b\\")
	c.sees(accentLight)
	c.types("q")
	require.NoError(t, c.ends())
}

func TestNothingIsWrittenWhileNothingChanges(t *testing.T) {
	list := uitest.Many(time.Now().Add(-24*time.Hour), 50) // every age is in hours
	c := open(t, uitest.New(nil, list...), utf8Env, ui.Config{})
	c.sees("node-00010")
	var last string
	require.Eventually(t, func() bool { // it has come to rest
		now := c.output()
		same := now == last
		last = now
		return same
	}, 2*time.Minute, 200*time.Millisecond)
	time.Sleep(1500 * time.Millisecond)
	require.Equal(t, last, c.output())
	c.types("q")
	require.NoError(t, c.ends())
}

func TestADaemonThatGoesAndComesAgain(t *testing.T) {
	ws := uitest.New(nil, uitest.Small(time.Now())...)
	var mu sync.Mutex
	down := false
	ws.WatchErr = func() error {
		mu.Lock()
		defer mu.Unlock()
		if down {
			return api.Errorf(api.CodeUnreachable, "no answer from Berth's service")
		}
		return nil
	}
	set := func(b bool) { mu.Lock(); down = b; mu.Unlock() }
	c := open(t, ws, utf8Env, ui.Config{})
	c.sees("notebook")
	set(true)
	ws.Cut()
	c.sees("reconnecting")
	in := uitest.Small(time.Now())[1]
	in.ID, in.Name = "i-later", "newborn"
	ws.Put(in)
	ws.Remove("i-0004") // archive
	c.forget()
	set(false)
	c.sees("newborn")
	c.types("/archive")
	c.sees("0 of 8")
	c.types("\x03")
	require.NoError(t, c.ends())
}

func TestWithoutATerminal(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	err = ui.Run(context.Background(), ui.Options{Workspace: uitest.New(nil), In: r, Out: w})
	require.Equal(t, 2, api.ExitCode(err))
}

// A terminal that takes no output can't keep the dashboard from ending.
func TestATerminalThatIsStuck(t *testing.T) {
	ptm, tty, err := pty.Open()
	require.NoError(t, err)
	defer tty.Close()
	defer ptm.Close() // what is still being written fails then
	require.NoError(t, pty.Setsize(ptm, &pty.Winsize{Rows: 200, Cols: 500}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- ui.Run(ctx, ui.Options{Workspace: uitest.New(nil, uitest.Many(time.Now(), 500)...), In: tty, Out: tty,
			Getenv: func(k string) string { return utf8Env[k] }})
	}()
	// Nobody reads: the first frames fill the terminal's buffer. The beginning shows that it runs.
	one := make([]byte, 1)
	_, err = ptm.Read(one)
	require.NoError(t, err)
	for range 20 {
		require.NoError(t, pty.Setsize(ptm, &pty.Winsize{Rows: 199, Cols: 499}))
		require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGWINCH))
	}
	cancel()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(2 * time.Minute):
		t.Fatal("it does not end")
	}
}

func TestTheContextEndsIt(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	ptm, tty, err := pty.Open()
	require.NoError(t, err)
	defer ptm.Close()
	defer tty.Close()
	require.NoError(t, pty.Setsize(ptm, &pty.Winsize{Rows: 1, Cols: 1}))
	go func() {
		buf := make([]byte, 1024)
		for {
			if _, err := ptm.Read(buf); err != nil {
				return
			}
		}
	}()
	done := make(chan error, 1)
	go func() { done <- ui.Run(ctx, ui.Options{Workspace: uitest.New(nil), In: tty, Out: tty}) }()
	cancel()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(2 * time.Minute):
		t.Fatal("it does not end")
	}
}
