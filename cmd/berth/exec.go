package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/transport/wire"
)

func (a *app) execCmd() *cobra.Command {
	var q api.ExecRequest
	cmd := &cobra.Command{
		Use:   "exec NAME -- CMD…",
		Short: "Run a command on an instance, with its output, input, signals and exit code",
		Long: "exec runs a command exactly as given, without a shell, in the instance's working directory and with the environment\n" +
			"of a shell there (berth help shell).\n" +
			"All that is written to its output arrives: exec ends when the last process that holds it open has closed it, as ssh does.\n" +
			"It exits with the command's own code (127: there is none, 126: it can't be executed), or 128+N for signal N. Where Berth itself\n" +
			"failed, it exits with Berth's code and the last line of stderr begins with \"berth:\"; --berth-error-code replaces that code.",
		Example:           "  berth exec vision -- nvidia-smi\n  berth exec vision -- sh -c 'ls *.py | wc -l'\n  tar c . | berth exec vision -- tar x",
		ValidArgsFunction: a.completeNames(1),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return api.Errorf(api.CodeUsage, "exec takes the name of an instance and a command").
					WithHint("berth exec NAME -- CMD…")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Argv = args[1:]
			return a.exec(cmd.Context(), args[0], q)
		},
	}
	cmd.Flags().StringVarP(&q.Dir, "workdir", "w", "", "directory to run it in")
	cmd.Flags().StringArrayVarP(&q.Env, "env", "e", nil, "K=V; may be repeated")
	cmd.Flags().BoolVar(&q.NoLinger, "no-linger", false,
		"end 200 ms after the command, though something that it started may still write")
	cmd.Flags().IntVar(&a.errCode, "berth-error-code", 0, "exit code where Berth itself failed")
	return cmd
}

func (a *app) exec(ctx context.Context, name string, q api.ExecRequest) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if err := readable(a.in); err != nil {
		return err
	}
	q.Alive = true
	out := &taker{w: a.out}
	signals, stop := passSignals(out.giveUp)
	defer stop()
	// The signals belong to the command now: an interrupt must not end this client first.
	ctx = context.WithoutCancel(ctx)
	// Until it runs they end the waiting for it.
	opening, cancel := context.WithCancelCause(ctx)
	opened := make(chan struct{})
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		select {
		case name := <-signals:
			cancel(signalled(name))
		case <-opened:
		}
	}()
	var s *api.Stream
	err = c.WithQuestions(opening, func(ctx context.Context) error {
		s, err = c.OpenExec(ctx, name, q)
		return err
	})
	close(opened)
	<-waited
	var by signalled
	if errors.As(context.Cause(opening), &by) {
		if err == nil {
			_ = s.Close()
		}
		a.exit = 128 + int(unix.SignalNum("SIG"+string(by)))
		return nil
	}
	cancel(nil)
	if err != nil {
		if s != nil {
			_ = s.Close()
		}
		return err
	}
	var unread atomic.Pointer[error]
	var began wire.Start
	x, err := s.Run(ctx, api.StreamIO{Stdin: a.in, Stdout: out, Stderr: a.err, Signals: signals, Alive: true,
		Lingers: a.lingers, Started: func(st wire.Start) { began = st },
		StdinFailed: func(err error) {
			// what nohup gives, or a terminal that is gone: that is its end
			if !errors.Is(err, syscall.EBADF) && !errors.Is(err, syscall.EIO) {
				unread.Store(&err)
			}
		}})
	if err != nil {
		if errors.Is(err, syscall.EPIPE) { // whoever read our output has gone, as in | head
			a.exit = 128 + int(syscall.SIGPIPE)
			return nil
		}
		e := api.AsError(err)
		if e.Code != api.CodeUnreachable {
			return err
		}
		stop()
		asking, done := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM) // they end this client now
		defer done()
		if went := instanceWent(asking, c, name); went != "" {
			return api.Errorf(e.Code, "%s: the command there ends with that", went)
		}
		if e.Hint != "" { // the agent has said what became of it
			return err
		}
		return a.brokeOff(asking, c, name, began, e)
	}
	a.exit = x.Code
	if slices.Contains([]string{"TERM", "HUP", "KILL"}, x.Signal) && x.Reason == "" { // nobody here need have sent it
		if went := instanceWent(ctx, c, name); went != "" {
			fmt.Fprintf(a.err, "berth: %s: that has ended the command (SIG%s)\n", plaintext.Text(went), plaintext.Text(x.Signal))
		}
	}
	if e := unread.Load(); e != nil && x.Code == 0 {
		return api.Errorf(api.CodeFailed, "the command has ended, but its input was not whole: %w", *e)
	}
	return nil
}

// readable refuses an input that is open for writing only: the command would take it for empty. The null device is
// empty either way, and nohup opens it like that.
func readable(in io.Reader) error {
	f, ok := in.(*os.File)
	if !ok {
		return nil
	}
	c, err := f.SyscallConn()
	if err != nil {
		return nil // it is closed, and read as that
	}
	var flags int
	var ferr error
	err = c.Control(func(fd uintptr) { flags, ferr = unix.FcntlInt(fd, unix.F_GETFL, 0) })
	if err != nil || ferr != nil || flags&unix.O_ACCMODE != unix.O_WRONLY {
		return nil
	}
	null, nerr := os.Stat(os.DevNull)
	if is, err := f.Stat(); err == nil && nerr == nil && os.SameFile(is, null) {
		return nil
	}
	return api.Errorf(api.CodeUsage, "standard input is open for writing only: the command could read nothing from it").
		WithHint("for a command that reads nothing: berth exec … </dev/null")
}

// signalled is the name, without SIG, of a signal that ended the waiting for a command's start.
type signalled string

func (s signalled) Error() string { return "ended by SIG" + string(s) }

// lingers says on a terminal why exec does not end.
func (a *app) lingers(l wire.Lingering) {
	if terminal(a.err) {
		fmt.Fprintf(a.err, "berth: the command has ended, but its output is held open by %s; ctrl-C stops waiting\n",
			plaintext.Text(l.String()))
	}
}

// takeLimit is how long whoever reads our output has to take some of it after a signal that ends us; takeWindow is how
// long after the signal a write may begin that counts for it. What is written comes in pieces, and the signal may be
// between two of them; but a command that goes on after it is not cut off by a pause an hour later.
const (
	takeLimit  = time.Second
	takeWindow = 5 * time.Second
)

// taker knows whether somebody takes what is written.
type taker struct {
	w     io.Writer
	since atomic.Pointer[time.Time] // when the Write under way began
}

func (o *taker) Write(p []byte) (int, error) {
	now := time.Now()
	o.since.Store(&now)
	defer o.since.Store(nil)
	return o.w.Write(p)
}

// giveUp ends this program some time after a signal if nobody has taken its output since (`| less`, say): the signal
// has gone to the command, too, but its end could not be seen. A write that waits can't be ended otherwise.
func (o *taker) giveUp(s syscall.Signal) {
	if s != syscall.SIGUSR1 && s != syscall.SIGUSR2 {
		o.endIfHeld(s, time.Now().Add(takeWindow))
	}
}

// endIfHeld looks every takeLimit whether one write has waited for all of it, as long as one that began before until
// may.
func (o *taker) endIfHeld(s syscall.Signal, until time.Time) {
	time.AfterFunc(takeLimit, func() {
		began := o.since.Load()
		if began != nil && began.Before(until) && time.Since(*began) >= takeLimit {
			os.Exit(128 + int(s))
		}
		if began != nil && began.Before(until) || time.Now().Before(until) {
			o.endIfHeld(s, until)
		}
	})
}

// passSignals catches the signals that belong to the remote command. Their names come without SIG; each is told to
// passed, too.
func passSignals(passed func(syscall.Signal)) (<-chan string, func()) {
	got := make(chan os.Signal, 8)
	signal.Notify(got, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	names := make(chan string)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case g := <-got:
				s, ok := g.(syscall.Signal)
				if !ok {
					continue
				}
				passed(s)
				name := unix.SignalName(s)
				select {
				case names <- name[len("SIG"):]:
				case <-done:
					return
				}
			}
		}
	}()
	return names, sync.OnceFunc(func() {
		signal.Stop(got)
		close(done)
	})
}
