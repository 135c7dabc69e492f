package attach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/muesli/cancelreader"
	"golang.org/x/term"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/transport/wire"
)

// Terminal is the user's terminal. Escape is the second detach key, as "ctrl-] d"; empty means that.
type Terminal struct {
	In     *os.File
	Out    *os.File
	Escape string
	// Greeting, if set, is shown on a clean page before a new terminal's first output.
	Greeting string
	// Asker, if set, is told where questions of the service go while the terminal is attached (and
	// nil afterwards): the terminal is raw then, and nobody else can read an answer from it.
	Asker func(func(ctx context.Context, q api.Question) (api.Answer, error))
}

// Result is how a session ended.
type Result struct {
	Detached bool   // by the user; the terminal on the instance goes on
	Code     int    // the shell's exit code; 128 + N for signal N
	Signal   string // that ended the shell
	Reason   string // of the service: "replaced" where another client took the terminal over
	Terminal string // the terminal's id
}

// String says it for people.
func (r Result) String() string {
	switch {
	case r.Detached:
		return "detached; the shell goes on"
	case r.Reason != "":
		return "the shell was left: " + plaintext.Clean(r.Reason)
	case r.Signal != "":
		return "the shell was ended by SIG" + plaintext.Clean(r.Signal)
	case r.Code != 0:
		return fmt.Sprintf("the shell ended with code %d", r.Code)
	}
	return "the shell ended"
}

// Session is an opened terminal stream. It must be Run or Closed.
type Session struct {
	c        *api.WorkspaceClient
	instance string
	asks     bool // questions are answered only while something is done; nobody listens all the time
	req      api.TerminalRequest
	stream   *api.Stream
}

// Open connects to a terminal on an instance. Rows, Cols and Term of the request should be set.
func Open(ctx context.Context, c *api.WorkspaceClient, instance string, req api.TerminalRequest) (*Session, error) {
	s := &Session{c: c, instance: instance, req: req}
	return s, s.dial(ctx)
}

func (s *Session) dial(ctx context.Context) error {
	st, err := s.c.OpenTerminal(ctx, s.instance, s.req)
	if err != nil {
		return err
	}
	s.stream = st
	return nil
}

// Close hangs up a session that was not run.
func (s *Session) Close() error {
	if s.stream == nil {
		return nil
	}
	return s.stream.Close()
}

// Run attaches tty to a terminal on the instance until it is detached or its shell ends.
func Run(ctx context.Context, c *api.WorkspaceClient, instance string, req api.TerminalRequest,
	tty Terminal) (Result, error) {
	if !term.IsTerminal(int(tty.In.Fd())) {
		return Result{}, api.Errorf(api.CodeUsage, "a shell on %q needs a terminal, and standard input is none", instance).
			WithHint("berth exec %s -- COMMAND runs a command without one", instance)
	}
	if req.Rows == 0 || req.Cols == 0 {
		req.Rows, req.Cols = size(tty)
	}
	if req.Term == "" {
		req.Term = os.Getenv("TERM")
	}
	var s *Session
	err := c.WithQuestions(ctx, func(ctx context.Context) (err error) {
		s, err = Open(ctx, c, instance, req)
		return err
	})
	if err != nil {
		_ = s.Close()
		return Result{}, err
	}
	s.asks = true
	return s.Run(ctx, tty)
}

func size(tty Terminal) (rows, cols uint16) {
	for _, f := range []*os.File{tty.Out, tty.In} {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
			return uint16(min(h, 65535)), uint16(min(w, 65535))
		}
	}
	return 24, 80
}

const (
	firstWait = 250 * time.Millisecond
	lastWait  = 5 * time.Second
)

// Run gives the terminal to the session until it is detached, ends, or ctx ends. The terminal is
// always put back as it was.
func (s *Session) Run(ctx context.Context, tty Terminal) (res Result, err error) {
	defer s.Close()
	esc, err := parseEscape(tty.Escape)
	if err != nil {
		return res, err
	}
	// A signal that would end the process ends the session first, so that the terminal is put back.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	keys, err := cancelreader.NewReader(tty.In)
	if err != nil {
		return res, fmt.Errorf("reading keys from the terminal: %w", err)
	}
	defer keys.Close()
	old, err := term.MakeRaw(int(tty.In.Fd()))
	if err != nil {
		return res, fmt.Errorf("putting the terminal into raw mode: %w", err)
	}
	out := &tracked{w: tty.Out}
	defer func() {
		out.restore()
		_ = term.Restore(int(tty.In.Fd()), old)
	}()

	a := &attached{Session: s, tty: tty, out: out, in: newQueue(), detach: make(chan struct{}),
		prompt: newPrompt(out.w, true)}
	if tty.Asker != nil {
		tty.Asker(a.prompt.ask)
		defer tty.Asker(nil)
	}
	var wg sync.WaitGroup
	wg.Add(2)
	pctx, cancel := context.WithCancel(ctx)
	resize := make(chan wire.Size, 1)
	go func() {
		defer wg.Done()
		a.pump(keys, esc)
	}()
	go func() {
		defer wg.Done()
		watchSize(pctx, tty, resize)
	}()
	defer func() {
		cancel()
		keys.Cancel()
		a.in.close()
		wg.Wait()
	}()
	return a.loop(ctx, resize)
}

// attached is a session with its terminal.
type attached struct {
	*Session
	tty    Terminal
	out    *tracked
	in     *queue
	detach chan struct{}
	once   sync.Once
	prompt *prompt
}

func (a *attached) leave() { a.once.Do(func() { close(a.detach) }) }

func (a *attached) left() bool {
	select {
	case <-a.detach:
		return true
	default:
		return false
	}
}

// say writes a line of our own among the remote ones.
func (a *attached) say(format string, v ...any) {
	fmt.Fprintf(a.out.w, "\r\n[berth: "+format+"]\r\n", v...)
}

// loop runs streams until one ends for good. A line that breaks is dialled again.
func (a *attached) loop(ctx context.Context, resize chan wire.Size) (Result, error) {
	var res Result
	started := false
	wait := firstWait
	for {
		if a.stream != nil {
			in := a.in.reader()
			x, err := a.follow(ctx, api.StreamIO{
				Stdin: in, Stdout: a.out, Stderr: a.out, Resize: resize, Detach: a.detach,
				Started: func(st wire.Start) {
					started, wait = true, firstWait
					if rows, _ := size(a.tty); st.Again || a.tty.Greeting != "" {
						a.out.page(int(rows))
					}
					if !st.Again && a.tty.Greeting != "" {
						fmt.Fprintf(a.out.w, "%s\r\n", plaintext.Clean(a.tty.Greeting))
					}
					if st.Terminal != "" {
						a.req.ID, a.req.New = st.Terminal, false
						res.Terminal = st.Terminal
					}
				},
			})
			in.close()
			a.stream = nil
			if err == nil && (a.left() || x.Reason == "detached") {
				res.Detached = true
				return res, nil
			}
			if err == nil {
				res.Code, res.Signal, res.Reason = x.Code, x.Signal, x.Reason
				return res, nil
			}
			if a.left() {
				res.Detached = true
				return res, nil
			}
			if ctx.Err() != nil {
				return res, ctx.Err()
			}
			// Only a terminal with an id can be found again.
			if !started || a.req.ID == "" || !broken(err) {
				return res, err
			}
			a.say("the line to %s dropped; connecting again. The shell goes on; enter ~ . leaves", plaintext.Clean(a.instance))
		}
		a.req.Rows, a.req.Cols = size(a.tty)
		err := a.redial(ctx)
		switch {
		case err == nil:
			continue
		case a.left():
			res.Detached = true
			return res, nil
		case ctx.Err() != nil:
			return res, ctx.Err()
		case !broken(err):
			return res, err
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-a.detach:
		case <-t.C:
		}
		t.Stop()
		wait = min(2*wait, lastWait)
	}
}

// goodbye is how long the service has to say goodbye to a client that detaches.
const goodbye = time.Second

// follow runs the stream. A service that does not answer can't keep the user from leaving.
func (a *attached) follow(ctx context.Context, sio api.StreamIO) (wire.ExitStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		select {
		case <-stop:
			return
		case <-a.detach:
		}
		t := time.NewTimer(goodbye)
		defer t.Stop()
		select {
		case <-stop:
		case <-t.C:
			cancel()
		}
	}()
	x, err := a.stream.Run(ctx, sio)
	close(stop)
	wg.Wait()
	cancel()
	return x, err
}

// redial dials again; leaving gives up.
func (a *attached) redial(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		select {
		case <-a.detach:
			cancel()
		case <-stop:
		}
	}()
	dial := a.dial
	if a.asks {
		dial = func(ctx context.Context) error { return a.c.WithQuestions(ctx, a.dial) }
	}
	err := dial(ctx)
	close(stop)
	wg.Wait()
	return err
}

// broken reports whether an error is one of the line, after which dialling again makes sense.
func broken(err error) bool {
	return errors.Is(err, &api.Error{Code: api.CodeUnreachable})
}

// pump reads keys until it is cancelled: to the prompt if one is open, else through the escapes to
// the instance.
func (a *attached) pump(keys io.Reader, esc *escapes) {
	buf := make([]byte, 4096)
	for {
		n, err := keys.Read(buf)
		b := buf[:n]
		if a.prompt.feed(b) {
			b = nil
		}
		out, what := esc.filter(b)
		if len(out) > 0 {
			a.in.put(out)
		}
		switch what {
		case escLeave:
			a.leave()
			return
		case escHelp:
			fmt.Fprint(a.out.w, esc.help())
		}
		if err != nil {
			if !errors.Is(err, cancelreader.ErrCanceled) {
				a.leave() // the terminal is gone: the shell stays
			}
			return
		}
	}
}

// watchSize passes the terminal's size on when it changes.
func watchSize(ctx context.Context, tty Terminal, out chan wire.Size) {
	winch := make(chan os.Signal, 1)
	signal.Notify(winch, syscall.SIGWINCH)
	defer signal.Stop(winch)
	for {
		select {
		case <-ctx.Done():
			return
		case <-winch:
			rows, cols := size(tty)
			z := wire.Size{Rows: rows, Cols: cols}
			select {
			case out <- z:
			default: // the last size is not taken yet: only the newest matters
				select {
				case <-out:
				default:
				}
				select {
				case out <- z:
				default:
				}
			}
		}
	}
}
