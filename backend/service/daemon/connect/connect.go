package connect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"berth/backend/api"
	"berth/backend/base/flock"
	"berth/backend/base/paths"
	"berth/backend/base/version"
)

// ReadyEnv names the file descriptor on which a started daemon reports: "ok", or an error document.
const ReadyEnv = "BERTH_READY_FD"

// startLimit is how long a client waits for other processes, as Connector.Limit.
const startLimit = 20 * time.Second

// Connector is how a client finds the daemon of its home. Its Dial is the Dial of an api.WorkspaceClient.
type Connector struct {
	Home paths.Home
	// Program returns the program that starts the daemon with Args, "daemon", "run". It is asked when one is started, and
	// when the one that runs is compared with it.
	Program func() (string, error)
	Args    []string
	// Existing makes Dial fail where no daemon runs instead of starting one.
	Existing bool
	// Service is Config.Service of the configuration as it is now. A running daemon of this very program that was
	// started with another one is replaced, unless it is in use: that is told to Warn, if there is one.
	Service string
	// Warn tells the user something that is no error, and reports whether it was shown.
	Warn func(string) bool
	// Limit is how long other processes are waited for: a daemon that starts or ends, a client that starts one.
	// 0: 20 seconds.
	Limit time.Duration

	once sync.Once
}

func (c *Connector) limit() time.Duration { return cmp.Or(c.Limit, startLimit) }

// Dial connects to the daemon, starting it if none runs and replacing an older one.
func (c *Connector) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := c.dial(ctx)
	if err == nil && !c.Existing {
		var replaced bool
		var rerr error
		c.once.Do(func() { replaced, rerr = c.replaceOlder(ctx) })
		if replaced || rerr != nil {
			_ = conn.Close()
		}
		if rerr != nil {
			return nil, rerr
		}
		if replaced {
			conn, err = c.dial(ctx)
		}
	}
	if err == nil || ctx.Err() != nil {
		return conn, err
	}
	if c.Existing || !Absent(err) {
		return nil, api.Errorf(api.CodeUnreachable, "no daemon of this home answers at %s: %w", c.Home.DaemonSocket(), err)
	}
	return c.start(ctx)
}

func (c *Connector) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", c.Home.DaemonSocket())
}

// Absent reports whether a dial failed because no daemon runs, not for want of a right.
func Absent(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// replaceOlder has a running daemon make way that is of an older version, or works by an older configuration. Its
// operations go on in the next. It reports whether the daemon has gone.
func (c *Connector) replaceOlder(ctx context.Context) (bool, error) {
	n, ok := ReadNote(c.Home)
	if !ok {
		return false, nil
	}
	mine, err := c.Program()
	same := err == nil && mine == n.Program // another program may know other settings
	client := &api.WorkspaceClient{Dial: c.dial}
	defer client.Close()
	asked, cancel := context.WithTimeout(ctx, c.limit())
	defer cancel()
	switch {
	case same && c.Service != "" && n.Service != c.Service:
		err = client.Daemon().StopIdle(asked)
		if errors.Is(err, &api.Error{Code: api.CodeConflict}) && c.Warn != nil {
			c.Warn("the configuration has changed, and does not count yet: " + api.AsError(err).Message +
				" (berth daemon stop ends it; what it does goes on at the next call)")
		}
	case same || !version.Current().Newer(n.Version):
		return false, nil
	default:
		lacks := api.HandOver.Lacks("the daemon that runs", n.Capability, n.Number)
		if lacks == "" {
			err = client.Daemon().HandOver(asked, version.Current())
			break
		}
		// Its end would end the commands that run through it. It serves this client until it is not in use.
		err = client.Daemon().StopIdle(asked)
		if errors.Is(err, &api.Error{Code: api.CodeConflict}) {
			c.tellOnce(fmt.Sprintf("%s of %d", n.Number, n.PID), lacks+
				"; it is used until what goes through it has ended (berth daemon stop ends that now)")
		}
	}
	if asked.Err() != nil && ctx.Err() == nil {
		return false, noAnswer(n.PID)
	}
	if err != nil {
		return false, nil // it goes on serving: an older daemon still serves this client
	}
	return true, c.awaitGone(ctx, n.PID)
}

// Silent is the error of a call to a daemon that does not answer.
func (c *Connector) Silent() error {
	n, _ := ReadNote(c.Home)
	return noAnswer(n.PID)
}

// noAnswer says that a daemon that runs does not answer: it was stopped, or hangs.
func noAnswer(pid int) error {
	return api.Errorf(api.CodeUnreachable, "the daemon of this home (pid %d) does not answer", pid).
		WithHint("kill -9 %d ends it; what it was doing goes on at the next call", pid)
}

// tellOnce warns of something about one daemon, whichever client says it.
func (c *Connector) tellOnce(about, text string) {
	path := filepath.Join(c.Home.State, "told-of-daemon")
	if b, err := os.ReadFile(path); c.Warn == nil || err == nil && string(b) == about {
		return
	}
	if c.Warn(text) {
		_ = os.WriteFile(path, []byte(about), 0o600) // else it is said again
	}
}

// awaitGone waits until the daemon with this process id, which is ending, has given up its socket, or another serves.
func (c *Connector) awaitGone(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, c.limit())
	defer cancel()
	for {
		// Not only the socket's file: a daemon that was killed leaves it, and the next one makes it anew.
		conn, err := c.dial(ctx)
		if err == nil {
			_ = conn.Close()
		}
		if n, ok := ReadNote(c.Home); Absent(err) || ok && n.PID != pid {
			return nil
		}
		select {
		case <-ctx.Done():
			return api.Errorf(api.CodeUnreachable, "the daemon of this home (pid %d) is ending, and does not end: %w", pid,
				ctx.Err()).WithHint("its log: %s", c.Home.Log())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Stop ends the daemon of the home, and those that have handed over and carry their last byte streams. It reports
// whether there was one.
func (c *Connector) Stop(ctx context.Context) (bool, error) {
	client := &api.WorkspaceClient{Dial: c.dial}
	defer client.Close()
	asked, cancel := context.WithTimeout(ctx, c.limit())
	defer cancel()
	info, err := client.Daemon().Info(asked)
	ran := err == nil
	switch {
	case ran:
		err = client.Daemon().Stop(asked)
	case errors.Is(err, &api.Error{Code: api.CodeUnreachable}):
		err = nil
	}
	if asked.Err() != nil && ctx.Err() == nil {
		n, _ := ReadNote(c.Home)
		return true, noAnswer(n.PID)
	}
	for _, d := range FindDraining(c.Home) {
		ran = true
		err = errors.Join(err, d.End(ctx))
	}
	if err != nil || !ran || info.PID == 0 {
		return ran, err
	}
	return ran, c.awaitGone(ctx, info.PID)
}

// start starts the daemon, unless another client is doing so.
func (c *Connector) start(ctx context.Context) (net.Conn, error) {
	if err := c.Home.Prepare(); err != nil {
		return nil, StoreError(err, c.Home)
	}
	f, err := os.OpenFile(c.Home.StartLock(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, StoreError(err, c.Home)
	}
	defer f.Close() // and with it the lock
	// The lock only keeps clients from starting many daemons at once, of which all but one would end. A client that was
	// stopped (ctrl-Z) while it had it is not waited for any longer.
	waiting, cancel := context.WithTimeout(ctx, c.limit())
	err = flock.Wait(waiting, f, nil)
	cancel()
	if err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
		return nil, err
	}
	// A daemon may run that does not serve yet, or no longer: the client that started it was killed, or
	// it is on its way out. Either it will answer, or make room.
	deadline := time.Now().Add(c.limit())
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		if conn, err := c.dial(ctx); err == nil {
			return conn, nil // another client was faster
		}
		err := c.spawn(ctx)
		if err == nil {
			break
		}
		if !errors.Is(err, errRunningCode) || time.Now().After(deadline) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, api.Errorf(api.CodeUnreachable, "the daemon was started but does not answer: %w", err).
			WithHint("its log: %s", c.Home.Log())
	}
	return conn, nil
}

// errRunningCode matches errRunning as a started daemon reports it.
var errRunningCode = &api.Error{Code: api.CodeConflict}

// spawn starts the daemon in its own session and waits until it is ready.
func (c *Connector) spawn(ctx context.Context) error {
	program, err := c.Program()
	if err != nil {
		return StoreError(err, c.Home)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	log, err := os.OpenFile(c.Home.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		_ = w.Close()
		return StoreError(err, c.Home)
	}
	defer log.Close()
	cmd := exec.Command(program, c.Args...)
	cmd.Dir = "/" // it must not keep the caller's folder busy
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{w}
	cmd.Env = append(os.Environ(), ReadyEnv+"=3")
	if h := os.Getenv("BERTH_HOME"); h != "" {
		cmd.Env = append(cmd.Env, "BERTH_HOME="+c.Home.Root)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return fmt.Errorf("starting the daemon: %w", err)
	}
	go func() { _ = cmd.Wait() }() // reaped if it ends before this client does
	return awaitReady(ctx, r, c.Home, c.limit())
}

// awaitReady reads a started daemon's report.
func awaitReady(ctx context.Context, r *os.File, h paths.Home, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Now()) })
	defer stop()
	b, err := io.ReadAll(io.LimitReader(r, 64<<10))
	s := strings.TrimSpace(string(b))
	switch {
	case s == "ok":
		return nil
	case s != "":
		var doc api.ErrorDocument
		if json.Unmarshal(b, &doc) == nil && doc.Error != nil {
			return doc.Error
		}
	case err != nil:
		return api.Errorf(api.CodeUnreachable, "the daemon was not ready within %s", limit).WithHint("its log: %s", h.Log())
	}
	return api.Errorf(api.CodeUnreachable, "the daemon ended while it started").WithHint("its log: %s", h.Log())
}
