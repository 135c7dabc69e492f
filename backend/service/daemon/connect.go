package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
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

// startLimit is how long a client waits for the daemon that it started.
const startLimit = 20 * time.Second

// Connector is how a client finds the daemon of its home. Its Dial is the Dial of an api.WorkspaceClient.
type Connector struct {
	Home paths.Home
	// Args start the daemon when given to a copy of this program: "daemon", "run".
	Args []string
	// Existing makes Dial fail where no daemon runs instead of starting one.
	Existing bool
	// Service is Config.Service of the configuration as it is now. A running daemon of this very program that was
	// started with another one is replaced, unless it is in use: that is told to Warn, if there is one.
	Service string
	Warn    func(string)

	once sync.Once
}

// Dial connects to the daemon, starting it if none runs and replacing an older one.
func (c *Connector) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := c.dial(ctx)
	if err == nil && !c.Existing {
		var replaced bool
		c.once.Do(func() { replaced = c.replaceOlder(ctx) })
		if replaced {
			_ = conn.Close()
			conn, err = c.dial(ctx)
		}
	}
	if err == nil || ctx.Err() != nil {
		return conn, err
	}
	if c.Existing || !absent(err) {
		return nil, api.Errorf(api.CodeUnreachable, "no daemon of this home answers at %s: %w", c.Home.DaemonSocket(), err)
	}
	return c.start(ctx)
}

func (c *Connector) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", c.Home.DaemonSocket())
}

// absent reports whether a dial failed because no daemon runs, not for want of a right.
func absent(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// replaceOlder asks a running daemon of an older version, or that works by an older configuration, to end. Its
// operations go on in the next.
func (c *Connector) replaceOlder(ctx context.Context) bool {
	b, err := os.ReadFile(notePath(c.Home))
	if err != nil {
		return false
	}
	var n Note
	if json.Unmarshal(b, &n) != nil {
		return false
	}
	mine, err := c.Home.Program("berth")
	same := err == nil && mine == n.Program // another program may know other settings
	client := &api.WorkspaceClient{Dial: c.dial}
	defer client.Close()
	switch {
	case same && c.Service != "" && n.Service != c.Service:
		err := client.Daemon().StopIdle(ctx)
		if errors.Is(err, &api.Error{Code: api.CodeConflict}) && c.Warn != nil {
			c.Warn("the configuration has changed, and does not count yet: " + api.AsError(err).Message + " (berth daemon stop ends it; what it does goes on at the next call)")
		}
		if err != nil {
			return false
		}
	case same || !version.Current().Newer(n.Version):
		return false
	case client.Daemon().Stop(ctx) != nil:
		return false // it goes on serving: an older daemon still serves this client
	}
	for paths.Exists(c.Home.DaemonSocket()) && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	return true
}

// start starts the daemon, unless another client is doing so.
func (c *Connector) start(ctx context.Context) (net.Conn, error) {
	if err := c.Home.Prepare(); err != nil {
		return nil, storeError(err, c.Home)
	}
	f, err := os.OpenFile(c.Home.StartLock(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, storeError(err, c.Home)
	}
	defer f.Close() // and with it the lock
	if err := flock.Wait(ctx, f, nil); err != nil {
		return nil, err
	}
	// A daemon may run that does not serve yet, or no longer: the client that started it was killed, or
	// it is on its way out. Either it will answer, or make room.
	deadline := time.Now().Add(startLimit)
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
		return nil, api.Errorf(api.CodeUnreachable, "the daemon was started but does not answer: %w", err).WithHint("its log: %s", c.Home.Log())
	}
	return conn, nil
}

// errRunningCode matches errRunning as a started daemon reports it.
var errRunningCode = &api.Error{Code: api.CodeConflict}

// spawn starts the daemon in its own session and waits until it is ready.
func (c *Connector) spawn(ctx context.Context) error {
	program, err := c.Home.Program("berth")
	if err != nil {
		return storeError(err, c.Home)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	log, err := os.OpenFile(c.Home.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		_ = w.Close()
		return storeError(err, c.Home)
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
	return awaitReady(ctx, r, c.Home)
}

// awaitReady reads a started daemon's report.
func awaitReady(ctx context.Context, r *os.File, h paths.Home) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
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
		return api.Errorf(api.CodeUnreachable, "the daemon was not ready within %s", startLimit).WithHint("its log: %s", h.Log())
	}
	return api.Errorf(api.CodeUnreachable, "the daemon ended while it started").WithHint("its log: %s", h.Log())
}
