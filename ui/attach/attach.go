package attach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
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
	Detached bool   // by the user
	Away     bool   // the user left while the line was away, or nobody said goodbye: what the shell does is not known
	HungUp   bool   // the user left a terminal that does not outlive its line
	Code     int    // the shell's exit code; 128 + N for signal N
	Signal   string // that ended the shell
	Reason   string // of the service: "replaced" where another client took the terminal over
	Terminal string // the terminal's id
}

// String says it for people.
func (r Result) String() string {
	switch {
	case r.Detached && r.HungUp:
		return "left; the shell ended with its line: no agent there keeps it"
	case r.Detached && r.Away:
		return "left while the line was away; whether the shell goes on is not known"
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
	return s, s.dial(ctx, instance)
}

func (s *Session) dial(ctx context.Context, ref string) error {
	st, err := s.c.OpenTerminal(ctx, ref, s.req)
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

	a := &attached{Session: s, tty: tty, out: out, in: newQueue(maxTyped), detach: make(chan struct{}),
		prompt: newPrompt(out.w, true)}
	if tty.Asker != nil {
		tty.Asker(a.prompt.ask)
		defer tty.Asker(nil)
	}
	var wg sync.WaitGroup
	wg.Add(2)
	pctx, cancel := context.WithCancel(ctx)
	resize := make(chan wire.Size, 1)
	was := wire.Size{Rows: s.req.Rows, Cols: s.req.Cols}
	go func() {
		defer wg.Done()
		a.pump(keys, esc)
	}()
	go func() {
		defer wg.Done()
		watchSize(pctx, tty, was, resize)
	}()
	defer func() {
		cancel()
		keys.Cancel()
		a.in.close()
		wg.Wait()
	}()
	res, err = a.loop(ctx, resize)
	if n := a.in.left(); n > 0 && (res.Detached || err != nil) {
		a.say("%d bytes that were typed were not taken, and are lost", n)
	}
	return res, err
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
	place  atomic.Pointer[place] // nil while it is not known
	kept   atomic.Pointer[bool]  // the terminal outlives its line; nil while it is not known

	res     Result
	started bool
	pid     int             // of the shell; 0: an older agent does not say
	other   bool            // the terminal of this id is another one now
	said    map[string]bool // why the line is away, as it was said since it broke
	wait    time.Duration
	work    sync.WaitGroup
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
	ctx, cancel := context.WithCancel(ctx)
	defer a.work.Wait()
	defer cancel()
	a.wait = firstWait
	for {
		if a.stream != nil {
			if done, err := a.attend(ctx, resize); done {
				return a.res, err
			}
		}
		a.req.Rows, a.req.Cols = size(a.tty)
		err := a.redial(ctx)
		switch {
		case err == nil:
			continue
		case a.left():
			a.res.Detached, a.res.Away = true, true
			return a.res, nil
		case ctx.Err() != nil:
			return a.res, ctx.Err()
		case errors.Is(err, &api.Error{Code: api.CodeNotFound}):
			return a.res, a.over(a.fate(ctx), plaintext.Clean(err.Error()))
		case !broken(err):
			return a.res, err
		}
		if f := a.fate(ctx); f.ended {
			return a.res, a.over(f, "")
		} else if f.text == "" {
			a.sayOnce(plaintext.Clean(err.Error()))
		} else {
			a.sayOnce(f.text)
		}
		t := time.NewTimer(a.wait)
		select {
		case <-ctx.Done():
		case <-a.detach:
		case <-t.C:
		}
		t.Stop()
		a.wait = min(2*a.wait, lastWait)
	}
}

// sayOnce says why the line is away, unless that was said already.
func (a *attached) sayOnce(why string) {
	if !a.said[why] {
		a.said[why] = true
		a.say("%s; trying again", strings.TrimRight(why, "."))
	}
}

// attend runs the stream. Unless it is done, the line broke and is to be dialled again.
func (a *attached) attend(ctx context.Context, resize chan wire.Size) (done bool, err error) {
	in := a.in.reader()
	sctx, end := context.WithCancel(ctx)
	x, err := a.follow(sctx, api.StreamIO{Stdin: in, Stdout: a.out, Stderr: a.out, Resize: resize, Detach: a.detach,
		Started: func(st wire.Start) { a.begin(ctx, st, end) }})
	end()
	in.close()
	a.stream = nil
	switch {
	case a.other:
		return true, a.over(a.fate(ctx), "its instance was started again")
	case err == nil && x.Reason == "detached":
		a.res.Detached, a.res.HungUp = true, a.req.ID == ""
		return true, nil
	case err == nil:
		a.res.Code, a.res.Signal, a.res.Reason = x.Code, x.Signal, x.Reason
		if x.Code != 0 && x.Reason == "" && !a.left() {
			if f := a.fate(ctx); f.ended || f.ends {
				return true, a.over(f, "")
			}
		}
		return true, nil
	case a.left():
		a.res.Detached, a.res.Away = true, true
		return true, nil
	case ctx.Err() != nil:
		return true, ctx.Err()
	case !a.started:
		return true, err
	case a.req.ID == "": // only a terminal with an id can be found again
		if f := a.fate(ctx); f.ended || f.ends {
			return true, a.over(f, "")
		}
		return true, api.Errorf(api.AsError(err).Code, "%w: the shell ends with it, for no agent there keeps it", err).
			WithHint("%s", api.AsError(err).Hint)
	case !broken(err):
		return true, a.over(a.fate(ctx), plaintext.Clean(err.Error()))
	}
	a.said = map[string]bool{}
	a.say("the line to %s dropped; connecting again. Whether the shell goes on is not known until then; enter ~ . leaves",
		plaintext.Clean(a.instance))
	return false, nil
}

// begin is told that a stream has begun; end ends it.
func (a *attached) begin(ctx context.Context, st wire.Start, end context.CancelFunc) {
	if a.pid != 0 && st.PID != 0 && a.pid != st.PID {
		a.other = true // numbers are given anew where the instance was started again: this is somebody else's
		end()
		return
	}
	if !a.started {
		a.work.Go(func() { a.learn(ctx) })
	}
	a.started, a.wait, a.pid = true, firstWait, st.PID
	if rows, _ := size(a.tty); st.Again || a.tty.Greeting != "" {
		a.out.page(int(rows))
	}
	if !st.Again && a.tty.Greeting != "" {
		greeting := a.tty.Greeting
		if st.Terminal == "" {
			greeting = "[berth: a shell on " + a.instance + "; no agent there keeps it: it ends when you leave it by enter ~ .]"
		}
		fmt.Fprintf(a.out.w, "%s\r\n", plaintext.Clean(greeting))
	}
	if st.Terminal != "" {
		a.req.ID, a.req.New = st.Terminal, false
		a.res.Terminal = st.Terminal
	}
	kept := st.Terminal != ""
	a.kept.Store(&kept)
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
	ctx, end := a.here(ctx)
	defer end()
	dial := func(ctx context.Context) error { return a.dial(ctx, a.ref()) }
	if a.asks {
		return a.c.WithQuestions(ctx, dial)
	}
	return dial(ctx)
}

// here returns a context that ends when the user leaves, too.
func (a *attached) here(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-a.detach:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { cancel(); wg.Wait() }
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
		out, what := esc.filter(b, time.Now())
		if len(out) > 0 {
			a.put(out)
		}
		switch what {
		case escLeave:
			a.leave()
			return
		case escHelp:
			fmt.Fprint(a.out.w, esc.help(a.afterLeaving()))
		}
		if err != nil {
			if !errors.Is(err, cancelreader.ErrCanceled) {
				a.leave() // the terminal is gone: the shell stays
			}
			return
		}
	}
}

// afterLeaving says what the shell does once the user has left.
func (a *attached) afterLeaving() string {
	switch kept := a.kept.Load(); {
	case kept == nil:
		return ""
	case *kept:
		return " and lets the shell go on"
	}
	return ", and the shell ends: no agent there keeps it"
}

// put has keys sent, and says so where they can't be kept.
func (a *attached) put(keys []byte) {
	full, lost := a.in.put(keys)
	name := plaintext.Clean(a.instance)
	if lost > 0 {
		a.say("%s takes input again; %d bytes that were typed meanwhile are lost", name, lost)
	}
	if full {
		a.say("\a%s takes no input, and too much waits for it: what is typed from here on is lost until it does", name)
	}
}

// watchSize passes the terminal's size on when it changes. was is the size that was asked for: the terminal may have
// been resized since.
func watchSize(ctx context.Context, tty Terminal, was wire.Size, out chan wire.Size) {
	winch := make(chan os.Signal, 1)
	signal.Notify(winch, syscall.SIGWINCH)
	defer signal.Stop(winch)
	for {
		rows, cols := size(tty)
		if z := (wire.Size{Rows: rows, Cols: cols}); z != was {
			was = z
			select {
			case <-out: // the last size is not taken yet: only the newest matters
			default:
			}
			out <- z // nobody else writes to it, and it has room
		}
		select {
		case <-ctx.Done():
			return
		case <-winch:
		}
	}
}
