package login

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"berth/backend/agent/environ"
	"berth/backend/agent/part"
	"berth/backend/agent/tty"
	"berth/backend/api"
	"berth/backend/transport/wire"
)

const (
	// captureLimit is how long a user's shell may take to print its environment.
	captureLimit = 10 * time.Second
	// maxEnv bounds what is kept of what a shell prints, in bytes.
	maxEnv = 4 << 20
	// lookEvery is how often a shell is looked at that has not printed its environment yet, and
	// lookFrom when that begins to have consequences: most shells are done by then.
	lookEvery = 50 * time.Millisecond
	lookFrom  = 200 * time.Millisecond
	// keysLimit is how long a program of the start-up files may wait for single keys.
	keysLimit = time.Second
	// drainWait is how long the rest is awaited when a shell has ended, or is to: a daemon may hold its output
	// open, and it may be a process that can't be ended.
	drainWait = 2 * time.Second
	// leftLimit is how long what an answered shell has left in the background has for its work (a cache, an update), and
	// endGrace how long what is left of a session has from SIGTERM to SIGKILL.
	leftLimit = 3 * time.Second
	endGrace  = 1500 * time.Millisecond
	// maxFollowed is how many shells may replace one another.
	maxFollowed = 3
)

// captured is an environment, and where it comes from.
type captured struct {
	env  []string
	info api.ShellEnvironment
	why  string // info.Error as it was then, without what went wrong later
}

// capture asks the user's shell for its environment: a login and interactive shell, as a terminal of the
// instance has and as editors ask for it, since what conda and others write into start-up files stands
// behind "not interactive: return". Where that gives nothing, the environment of a login shell that is not
// interactive serves, else base. It takes no longer than limit.
func capture(ctx context.Context, o part.Options, base []string, exe string, limit time.Duration) (c captured) {
	// Not ended with the answer: start-up files that are cut off leave locks behind, on which every later shell waits.
	ctx, cancel := context.WithTimeout(ctx, limit)
	context.AfterFunc(ctx, cancel)
	c = captured{env: base, info: api.ShellEnvironment{Shell: o.Shell, How: api.ShellPlain}}
	defer func() { c.info.CapturedAt = time.Now().UTC().Truncate(time.Second) }()
	q, err := newQuestion(o, base, exe)
	if err != nil {
		c.info.Error = err.Error()
		return c
	}
	name := filepath.Base(o.Shell)
	// A leading dash in argv[0] is how login(1) asks for a login shell, which every shell understands;
	// `sh -l` is not known everywhere.
	interactive := q.tries(ctx, true, []string{"-" + name, "-i"}, []string{name, "-i", "-l"})
	var login answers
	askLogin := func() { login = q.tries(ctx, false, []string{"-" + name}, []string{name, "-l"}) }
	var in answer
	select {
	case in = <-interactive:
	case <-time.After(limit / 5): // so that the other answer is there when the limit is
		askLogin()
		in = interactive.wait(ctx)
	}
	if in.err == nil {
		c.env, c.info.How = in.env, api.ShellInteractive
		return c
	}
	if login == nil {
		askLogin()
	}
	if in.limit(ctx) {
		in.err = fmt.Errorf("its start-up files took more than %v%s", limit, in.lastWords)
	}
	c.info.Error = "as a login and interactive shell: " + in.err.Error()
	if lo := login.wait(ctx); lo.err == nil {
		c.env, c.info.How = lo.env, api.ShellLogin
	} else {
		if lo.limit(ctx) {
			lo.err = fmt.Errorf("its start-up files took more than %v%s", limit, lo.lastWords)
		}
		c.info.Error += "; as a login shell: " + lo.err.Error()
	}
	return c
}

// question is what a shell is asked.
type question struct {
	shell string
	env   []string
	dir   string
	line  string // the command, in a language that every shell has
	mark  string
}

func newQuestion(o part.Options, base []string, exe string) (question, error) {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	q := question{shell: o.Shell, mark: hex.EncodeToString(b[:]), dir: o.Home}
	words := part.Command(exe, "env", q.mark)
	for i, w := range words {
		if strings.ContainsAny(w, "'\\\n!") {
			return q, fmt.Errorf("the program's path %q can't be quoted for every shell", exe)
		}
		words[i] = "'" + w + "'"
	}
	q.line = strings.Join(words, " ")
	q.env = environ.Merge(environ.Merge(base, o.Env()...), resolving...)
	return q, nil
}

// resolving is what start-up files can tell by that they are read for their environment only. The others
// keep them from attaching to a tmux or screen that the user works in, or leaving one behind: that is
// what their usual guards look at, and no server is found at these addresses.
var resolving = []string{"BERTH_RESOLVING=1", "TMUX=/nonexistent/berth,0,0", "STY=0.berth", "ZELLIJ=0"}

// answer is what came of one or more tries.
type answer struct {
	env       []string
	err       error
	lastWords string // what the shell wrote last, in words for an error
}

// limit reports whether there is no answer because the time was up.
func (a answer) limit(ctx context.Context) bool {
	return errors.Is(a.err, context.DeadlineExceeded) && ctx.Err() != nil
}

// answers is where an answer comes.
type answers chan answer

// wait waits for the answer, and when the time is up for what its shell did last: but not for long, since a
// process that hangs in a dead file system can't be ended by anybody.
func (c answers) wait(ctx context.Context) answer {
	select {
	case a := <-c:
		return a
	case <-ctx.Done():
	}
	select {
	case a := <-c:
		return a
	case <-time.After(drainWait):
		return answer{err: ctx.Err()}
	}
}

// tries asks with one argv after the other until one answers.
func (q question) tries(ctx context.Context, terminal bool, argvs ...[]string) answers {
	c := make(answers, 1)
	go func() {
		var why []string
		for _, argv := range argvs {
			try := q
			a := answer{}
			for i := 0; ; i++ {
				var next *follow
				if a, next = try.ask(ctx, terminal, argv, func(a answer) { c <- a }); next == nil {
					break
				}
				if i == maxFollowed {
					a.err = errors.New("its start-up files put one shell after another in its place")
					break
				}
				try.shell, argv, try.env = next.path, next.argv, next.env
			}
			switch {
			case a.err == nil:
				return // it was told
			case ctx.Err() != nil:
				c <- a
				return
			}
			if w := a.err.Error() + a.lastWords; !slices.Contains(why, w) {
				why = append(why, w)
			}
		}
		c <- answer{err: errors.New(strings.Join(why, "; then "))}
	}()
	return c
}

// ask runs a shell in a session of its own, with terminal on a terminal of its own, so that it runs this
// program, which prints the environment between marks: what else the start-up files print matters
// little then. All that is left of the session afterwards is ended. Where the start-up files put
// another shell in place of this one, that is what is to be asked next.
func (q question) ask(ctx context.Context, terminal bool, argv []string, tell func(answer)) (answer, *follow) {
	if fi, err := os.Stat(q.dir); err != nil || !fi.IsDir() {
		q.dir = "/"
	}
	cmd := &exec.Cmd{Path: q.shell, Args: append(slices.Clone(argv), "-c", q.line), Env: q.env, Dir: q.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out := newPrinted(q.mark)
	w := &watched{q: q}
	var theirs *os.File
	var err error
	if terminal {
		if w.master, theirs, err = tty.Open(wire.Size{Rows: 24, Cols: 80}); err != nil {
			return answer{err: fmt.Errorf("opening a terminal device: %w", err)}, nil
		}
		w.slave = theirs
		cmd.Env = environ.Merge(cmd.Env, "TERM=xterm-256color")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
		cmd.SysProcAttr.Setctty = true
	} else {
		if w.master, theirs, err = os.Pipe(); err != nil {
			return answer{err: fmt.Errorf("making a pipe: %w", err)}, nil
		}
		cmd.Stdout = theirs // it has nobody to ask: its input is /dev/null
	}
	device := theirs.Name()
	err = cmd.Start()
	if !terminal || err != nil {
		_ = theirs.Close()
	}
	if err != nil {
		_ = w.master.Close()
		return answer{err: err}, nil
	}
	var reader sync.WaitGroup
	ended := make(chan struct{})
	reader.Go(func() {
		defer close(ended)
		_, _ = io.Copy(out, w.master)
	})
	w.pid = cmd.Process.Pid
	next, err := w.wait(ctx, out.found, ended)
	told := false
	select {
	case <-out.found:
		var env []string
		if env, told = parseMarked(out.buf, q.mark); told {
			tell(answer{env: own(env, device)})
		}
	default:
	}
	// Before Wait: as long as the shell has not been waited for, the number of its session is its own.
	w.end(ctx, told)
	state := cmd.Wait()
	if terminal {
		_ = theirs.Close() // now the reader comes to an end, unless a daemon of the user holds the terminal open
	}
	select {
	case <-out.found:
		_ = w.master.SetReadDeadline(time.Unix(1, 0))
	default: // what was printed last is on its way
		_ = w.master.SetReadDeadline(time.Now().Add(drainWait))
	}
	reader.Wait()
	_ = w.master.Close()
	if next != nil {
		return answer{}, next
	}
	switch {
	case told: // also if the shell's own end is odd
		return answer{}, nil
	case err != nil:
	case out.done:
		err = errors.New("its environment was mixed with what others printed")
	case state != nil:
		err = fmt.Errorf("it ended before it ran the command (%w)", state)
	default:
		err = errors.New("it ended before it ran the command")
	}
	return answer{err: err, lastWords: out.lastWords()}, nil
}
