package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend/agent/process"
	"berth/backend/api"
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
func capture(ctx context.Context, o Options, base []string, exe string, limit time.Duration) (c captured) {
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

func newQuestion(o Options, base []string, exe string) (question, error) {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	q := question{shell: o.Shell, mark: hex.EncodeToString(b[:]), dir: o.Home}
	words := Command(exe, "env", q.mark)
	for i, w := range words {
		if strings.ContainsAny(w, "'\\\n!") {
			return q, fmt.Errorf("the program's path %q can't be quoted for every shell", exe)
		}
		words[i] = "'" + w + "'"
	}
	q.line = strings.Join(words, " ")
	q.env = merge(merge(base, berthEnv(o)...), resolving...)
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
		if w.master, theirs, err = openTTY(24, 80); err != nil {
			return answer{err: fmt.Errorf("opening a terminal device: %w", err)}, nil
		}
		w.slave = theirs
		cmd.Env = merge(cmd.Env, "TERM=xterm-256color")
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

// end ends what is left of the session: gently, since start-up files may hold a lock, as pyenv's do, or write a file.
func (w *watched) end(ctx context.Context, answered bool) {
	set := process.Set{Session: w.pid}
	ctx, cancel := context.WithTimeout(ctx, leftLimit)
	defer cancel()
	for pause := time.Millisecond; answered; pause = min(2*pause, time.Second) {
		if empty, err := set.Empty(); empty || err != nil {
			break
		}
		select {
		case <-time.After(pause):
			continue
		case <-ctx.Done():
		}
		break
	}
	_, _ = set.End(context.Background(), endGrace, nil)
}

// follow is a shell that start-up files put in place of the one that was asked.
type follow struct {
	path string
	argv []string
	env  []string
}

// watched is a shell that runs its start-up files, and the terminal that it runs on (slave: nil where it
// has none).
type watched struct {
	q             question
	master, slave *os.File
	pid           int
	raw           time.Time // since when somebody waits for single keys
}

// wait returns once the environment was printed, the shell has ended, or nothing good can come any more.
func (w *watched) wait(ctx context.Context, found, ended <-chan struct{}) (*follow, error) {
	began := time.Now()
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		select {
		case <-found:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ended:
			ended = nil // its output only: it may still do something by itself
		case <-t.C:
			if _, err := process.Identify(w.pid); err != nil {
				return nil, nil
			}
			if w.slave == nil || time.Since(began) < lookFrom {
				continue
			}
			if next, err := w.look(); next != nil || err != nil {
				return next, err
			}
		}
	}
}

// look sees to a shell whose start-up files wait for somebody, or have started another program.
func (w *watched) look() (*follow, error) {
	argv, replaced := w.replaced()
	if replaced {
		if next := w.follow(argv); next != nil {
			return next, nil
		}
	}
	canonical, front := w.terminal()
	if canonical {
		w.raw = time.Time{}
		if !replaced { // another program might hand on what is typed to a shell that somebody works in
			w.typeEnd()
		}
		return nil, nil
	}
	members, err := process.Set{Session: w.pid}.Members()
	if err == nil && len(members) == 1 && !replaced {
		w.typeEnd() // the shell itself asks for a key
		return nil, nil
	}
	switch {
	case w.raw.IsZero():
		w.raw = time.Now()
	case time.Since(w.raw) < keysLimit:
	case replaced:
		return nil, fmt.Errorf("its start-up files replaced it by %q", argv[0])
	default:
		w.raw = time.Time{}
		for _, p := range members {
			if g, err := syscall.Getpgid(p.PID); err == nil && g == front && p.PID != w.pid {
				_ = p.Signal(syscall.SIGHUP) // as if its terminal was closed; the files then go on
			}
		}
	}
	return nil, nil
}

// replaced reports whether the shell's process has become another program, by which the command is lost.
func (w *watched) replaced() (argv []string, replaced bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(w.pid) + "/cmdline")
	if err != nil || len(b) == 0 || bytes.Contains(b, []byte(w.q.mark)) {
		return nil, false // or this system does not tell
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00"), true
}

var knownShells = []string{"bash", "zsh", "fish", "dash", "ash", "ksh", "ksh93", "mksh", "sh", "tcsh", "csh"}

// follow says how to ask the shell in place of the first one, with the environment that it was started
// with. nil: it is no shell, or one that runs a script.
func (w *watched) follow(argv []string) *follow {
	dir := "/proc/" + strconv.Itoa(w.pid)
	path, err1 := os.Readlink(dir + "/exe")
	env, err2 := os.ReadFile(dir + "/environ")
	name := strings.TrimPrefix(filepath.Base(argv[0]), "-")
	if err1 != nil || err2 != nil || len(env) == 0 || !slices.Contains(knownShells, name) {
		return nil
	}
	f := &follow{path: path, argv: []string{argv[0], "-i"}, env: strings.Split(strings.TrimSuffix(string(env), "\x00"), "\x00")}
	for _, a := range argv[1:] {
		if !strings.HasPrefix(a, "-") || strings.HasPrefix(a, "-c") {
			return nil
		}
		f.argv = append(f.argv, a)
	}
	return f
}

// terminal reports whether the terminal gives whole lines to its reader, as it does unless a program wants
// single keys, and which process group is in front.
func (w *watched) terminal() (canonical bool, front int) {
	c, err := w.slave.SyscallConn()
	if err != nil {
		return false, 0
	}
	_ = c.Control(func(fd uintptr) {
		t, err := unix.IoctlGetTermios(int(fd), getTermios)
		canonical = err == nil && t.Lflag&unix.ICANON != 0
	})
	if c, err = w.master.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { front, _ = unix.IoctlGetInt(int(fd), unix.TIOCGPGRP) })
	}
	return canonical, front
}

// typeEnd types ctrl-D, the end of input, unless one waits to be read: start-up files that ask something
// get no answer, and go on.
func (w *watched) typeEnd() {
	c, err := w.slave.SyscallConn()
	if err != nil {
		return
	}
	waits := false
	_ = c.Control(func(fd uintptr) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		waits = err != nil || n > 0
	})
	if !waits {
		_, _ = w.master.Write([]byte{4})
	}
}

// printed takes what a shell prints: all from the first mark on, and before that only the end.
type printed struct {
	mark  []byte
	buf   []byte
	begun bool
	found chan struct{} // closed once both marks are there
	done  bool
}

func newPrinted(mark string) *printed {
	return &printed{mark: []byte(mark), found: make(chan struct{})}
}

// Write implements io.Writer.
func (p *printed) Write(b []byte) (int, error) {
	if p.done || len(p.buf) > maxEnv {
		return len(b), nil
	}
	p.buf = append(p.buf, b...)
	if !p.begun {
		if i := bytes.Index(p.buf, markBegin(p.mark)); i >= 0 {
			p.begun, p.buf = true, p.buf[i:]
		} else if keep := 1024; len(p.buf) > 2*keep {
			p.buf = append(p.buf[:0], p.buf[len(p.buf)-keep:]...)
		}
	}
	if p.begun && bytes.Contains(p.buf, markEnd(p.mark)) {
		p.done = true
		close(p.found)
	}
	return len(b), nil
}

// lastWords is the last line that was printed before the first mark, as the end of a sentence.
func (p *printed) lastWords() string {
	if p.begun {
		return ""
	}
	lines := strings.FieldsFunc(string(p.buf), func(r rune) bool { return r == '\n' || r == '\r' })
	for _, l := range slices.Backward(lines) {
		l = strings.TrimSpace(strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return -1
			}
			return r
		}, strings.ToValidUTF8(l, "?")))
		if r := []rune(l); len(r) > 0 {
			return fmt.Sprintf("; it wrote last: %q", string(r[:min(len(r), 100)]))
		}
	}
	return ""
}

func markBegin(mark []byte) []byte { return append(slices.Clone(mark), ':') }
func markEnd(mark []byte) []byte   { return append([]byte{':'}, mark...) }

// parseMarked finds variables between two marks in what a shell printed.
func parseMarked(b []byte, mark string) ([]string, bool) {
	_, b, ok := bytes.Cut(b, markBegin([]byte(mark)))
	if !ok {
		return nil, false
	}
	b, _, ok = bytes.Cut(b, markEnd([]byte(mark)))
	if !ok {
		return nil, false
	}
	body, err := base64.StdEncoding.Strict().DecodeString(string(b))
	if err != nil {
		return nil, false // something else was printed at the same time
	}
	var env []string
	for kv := range strings.SplitSeq(string(body), "\x00") {
		if k, _, ok := strings.Cut(kv, "="); ok && k != "" {
			env = append(env, kv)
		}
	}
	return env, len(env) > 0
}

// printEnv is the hidden subcommand that capture lets the shell run. It prints to the terminal of its
// session, where there is one: start-up files may have sent the standard output elsewhere. That takes no
// file, which a full disk would not have, and no inherited descriptor, which some shells close. What is
// printed has no byte that a terminal changes, and is written at once, so that nothing comes between.
func printEnv(mark string, w io.Writer) error {
	text := "\n" + mark + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Join(os.Environ(), "\x00"))) + ":" + mark + "\n"
	// By the system call: os.OpenFile would make it not block, and write it in parts.
	if fd, err := unix.Open("/dev/tty", unix.O_WRONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err == nil {
		tty := os.NewFile(uintptr(fd), "/dev/tty")
		defer tty.Close()
		w = tty
	}
	_, err := io.WriteString(w, text)
	return err
}

// shellsOwn are variables that belong to the shell that was asked, its terminal or its prompt.
var shellsOwn = []string{"_", "SHLVL", "PWD", "OLDPWD", "SHELLOPTS", "BASHOPTS", "BASH_EXECUTION_STRING",
	"TERM", "TERMCAP", "COLUMNS", "LINES", "TTY", "GPG_TTY", "BERTH_RESOLVING", "TMUX", "TMUX_PANE", "STY", "ZELLIJ",
	"PS0", "PS1", "PS2", "PS3", "PS4", "PROMPT", "PROMPT2", "PROMPT3", "PROMPT4", "RPROMPT", "RPROMPT2", "RPS1", "RPS2", "SPROMPT",
	"PROMPT_COMMAND", "PROMPT_DIRTRIM", "STARSHIP_SHELL", "STARSHIP_SESSION_KEY"}

// own drops from a shell's environment what is no variable of the user: the shell's own ones, exported
// functions, and what names the device that the shell ran on.
func own(env []string, device string) []string {
	return slices.DeleteFunc(env, func(kv string) bool {
		k, v, _ := strings.Cut(kv, "=")
		return slices.Contains(shellsOwn, k) || v == device || strings.HasPrefix(v, "() {") ||
			strings.HasPrefix(k, "BASH_FUNC_") || strings.HasPrefix(k, "P9K_") || strings.HasPrefix(k, "_P9K_")
	})
}
