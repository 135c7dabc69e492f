package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/transport/sshconfig"
	"berth/backend/transport/wire"
)

// openssh is a transport of the user's own ssh program, one process for each command: for GSSAPI,
// PKCS#11 and what else our client does not know. It has no forwards of its own: the agent is reached
// through one `dial`, as where forwarding is forbidden. ssh asks nothing (BatchMode); it should
// find its keys in ssh-agent or a ControlMaster.
type openssh struct {
	ctx  context.Context // of the manager's life
	prog string
	args []string
	env  []string
	t    *target
	done chan struct{}
	once sync.Once
	mu   sync.Mutex
	err  error
	seen time.Time // when it last got in
}

func (m *Manager) openOpenSSH(ctx context.Context, t *target) (transport, error) {
	env := backend.CallerFrom(ctx).Env
	prog, err := sshconfig.LookPath("ssh", env)
	if err != nil {
		return nil, api.Errorf(api.CodeUnreachable, "%s is to be reached by the user's own ssh, but there is none in PATH",
			t.where()).
			WithHint("install openssh-client, or leave out transport = \"openssh\"")
	}
	// ssh counts in seconds, and gives up one interval after the last question.
	every := max(int(m.o.patience()/(6*time.Second)), 1)
	count := max(int(m.o.patience()/time.Second)/every-1, 1)
	seconds := func(d time.Duration) string { return strconv.Itoa(int(max(d, time.Second).Seconds())) }
	args := []string{"-o", "BatchMode=yes", "-o", "ConnectTimeout=" + seconds(t.limit()),
		"-o", "ServerAliveInterval=" + strconv.Itoa(every), "-o", "ServerAliveCountMax=" + strconv.Itoa(count)}
	file := m.o.SSHConfig
	if f := env["BERTH_SSH_CONFIG"]; f != "" {
		file = f
	}
	if file != "" {
		args = append(args, "-F", file)
	}
	if t.ssh.User != "" {
		args = append(args, "-l", t.ssh.User)
	}
	if t.ssh.Port != 0 {
		args = append(args, "-p", strconv.Itoa(t.ssh.Port))
	}
	if t.ssh.IdentityFile != "" {
		args = append(args, "-i", t.ssh.IdentityFile)
	}
	if t.ssh.HostKey != "" {
		return nil, api.Errorf(api.CodeUnsupported, "a pinned host key can't be given to the user's own ssh").
			WithHint("put the key into ~/.ssh/known_hosts, or leave out transport = \"openssh\"")
	}
	var o *openssh
	err = m.whenNotBusy(ctx, func() error {
		o = &openssh{ctx: m.ctx, prog: prog, args: args, env: sshconfig.Environ(env), t: t, done: make(chan struct{})}
		return o.ping(ctx)
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

func (o *openssh) gone() <-chan struct{} { return o.done }

func (o *openssh) heard() time.Time { return time.Time{} }

// tellsSignals implements transport: ssh exits with 255 then, as when the line breaks.
func (o *openssh) tellsSignals() bool { return false }

func (o *openssh) why() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

func (o *openssh) close() { o.fail(nil) }

func (o *openssh) fail(err error) {
	o.once.Do(func() {
		o.mu.Lock()
		o.err = err
		o.mu.Unlock()
		close(o.done)
	})
}

// pingEvery is how often ping really starts a process; a broken dial is noticed at its next use.
const pingEvery = 5 * time.Minute

// ping runs a command that does nothing: it shows that ssh gets in.
func (o *openssh) ping(ctx context.Context) error {
	o.mu.Lock()
	fresh := time.Since(o.seen) < pingEvery
	o.mu.Unlock()
	if fresh {
		return nil
	}
	p, err := o.start(ctx, "exit 0", sessionOptions{})
	if err != nil {
		return err
	}
	defer p.close()
	stop := context.AfterFunc(ctx, p.close)
	defer stop()
	_ = p.stdin.Close()
	var said tail
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(&said, p.stderr) })
	_, _ = io.Copy(io.Discard, p.stdout)
	wg.Wait()
	st, err := p.wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil && st.Code != 255:
		o.mu.Lock()
		o.seen = time.Now()
		o.mu.Unlock()
		return nil
	}
	text := oneLine(said.String())
	code := api.CodeUnreachable
	if strings.Contains(text, "ermission denied") || strings.Contains(text, "Too many authentication") {
		code = api.CodeAuth
	} else if strings.Contains(text, "verification failed") {
		code = api.CodeRefused
	}
	why := errors.New(text)
	if saysBusy(text) {
		why = fmt.Errorf("%w: %s", errBusy, text)
	}
	e := api.Errorf(code, "the user's own ssh does not get to %s: %w", o.t.where(), why).
		WithHint("try it: ssh -o BatchMode=yes %s true", o.t.ssh.Host)
	o.fail(e)
	return e
}

func (o *openssh) dial(context.Context, string, string) (net.Conn, error) { return nil, errProhibited }

func (o *openssh) start(ctx context.Context, command string, so sessionOptions) (*process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	args := append([]string(nil), o.args...)
	if so.TTY {
		args = append(args, "-tt")
	} else {
		args = append(args, "-T")
	}
	args = append(args, "--", o.t.ssh.Host)
	if command != "" {
		args = append(args, command)
	}
	cmd := exec.CommandContext(o.ctx, o.prog, args...)
	cmd.Env = slices.Concat(o.env, so.Env) // o.env is every session's
	cmd.WaitDelay = 2 * time.Second
	p := &process{}
	var wait, once sync.Once
	var status wire.ExitStatus
	reap := func() {
		wait.Do(func() {
			_ = cmd.Wait()
			status = wire.ExitStatus{Code: cmd.ProcessState.ExitCode()}
		})
	}
	p.close = func() {
		once.Do(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM) // an error where it has ended
			go reap()                               // WaitDelay bounds it
		})
	}
	p.resize = func(wire.Size) error { return nil }
	var err error
	if so.TTY {
		if so.Term != "" {
			cmd.Env = append(cmd.Env, "TERM="+so.Term)
		}
		err = o.startTTY(cmd, p, so)
	} else {
		err = startPipes(cmd, p)
	}
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", o.prog, err)
	}
	stop := context.AfterFunc(o.ctx, p.close)
	p.wait = func() (wire.ExitStatus, error) {
		reap()
		stop()
		if status.Code < 0 {
			return status, errLineBroke
		}
		return status, nil
	}
	return p, nil
}

func startPipes(cmd *exec.Cmd, p *process) (err error) {
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if p.stdout, err = cmd.StdoutPipe(); err != nil {
		return err
	}
	if p.stderr, err = cmd.StderrPipe(); err != nil {
		return err
	}
	return cmd.Start()
}

func (o *openssh) startTTY(cmd *exec.Cmd, p *process, so sessionOptions) error {
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: so.Size.Rows, Cols: so.Size.Cols})
	if err != nil {
		return err
	}
	p.stdin, p.stdout, p.stderr = &ptyInput{f}, f, strings.NewReader("")
	p.resize = func(z wire.Size) error { return pty.Setsize(f, &pty.Winsize{Rows: z.Rows, Cols: z.Cols}) }
	kill := p.close
	p.close = func() { kill(); _ = f.Close() }
	return nil
}

// ptyInput is a terminal as standard input: its end is the end-of-file character.
type ptyInput struct{ f *os.File }

func (i *ptyInput) Write(p []byte) (int, error) { return i.f.Write(p) }
func (i *ptyInput) Close() error {
	_, err := i.f.Write([]byte{4})
	return err
}
