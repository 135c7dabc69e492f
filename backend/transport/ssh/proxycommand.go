package ssh

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"berth/backend"
	"berth/backend/transport/sshconfig"
)

// proxyCommand runs a ProxyCommand in the caller's environment and returns its standard input and
// output as a connection. The command ends with the connection.
func (m *Manager) proxyCommand(ctx context.Context, command string) (net.Conn, error) {
	// Of the manager's life, not of ctx: the connection stays when the call that made it is over.
	cmd := exec.CommandContext(m.ctx, "/bin/sh", "-c", proxyLine(command))
	cmd.Env = sshconfig.Environ(backend.CallerFrom(ctx).Env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return startPiped(cmd, "ProxyCommand "+command)
}

// startPiped starts a command and returns its pipes as a connection.
func startPiped(cmd *exec.Cmd, name string) (net.Conn, error) {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c := &pipeConn{cmd: cmd, stdin: stdin, stdout: stdout, name: name, done: make(chan struct{})}
	cmd.Stderr = &c.stderr
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return c, nil
}

// pipeConn is a process as a net.Conn. It has no deadlines: closing it ends the process.
type pipeConn struct {
	cmd    *exec.Cmd
	name   string
	stdin  io.WriteCloser
	stdout io.Reader
	stderr tail
	once   sync.Once
	wait   sync.Once
	done   chan struct{}
	err    error
	shut   atomic.Bool // by Close
}

// reap waits for the process once its output has ended or it was killed.
func (c *pipeConn) reap() {
	c.wait.Do(func() {
		c.err = c.cmd.Wait()
		close(c.done)
	})
	<-c.done
}

func (c *pipeConn) Read(p []byte) (int, error) {
	n, err := c.stdout.Read(p)
	if err != nil && n == 0 {
		err = c.ended(err)
	}
	return n, err
}

func (c *pipeConn) Write(p []byte) (int, error) {
	n, err := c.stdin.Write(p)
	if err != nil {
		err = c.ended(io.ErrUnexpectedEOF)
	}
	return n, err
}

// ended waits for the process, whose streams have ended, and tells what it said last.
func (c *pipeConn) ended(err error) error {
	_ = c.stdin.Close()
	t := time.AfterFunc(time.Second, c.kill)
	c.reap()
	t.Stop()
	if c.shut.Load() {
		return err
	}
	said := oneLine(c.stderr.String())
	if c.err == nil && said == "" {
		return err
	}
	return fmt.Errorf("%s ended (%v): %w: %s", c.name, c.cmd.ProcessState, io.ErrUnexpectedEOF, said)
}

func (c *pipeConn) kill() { _ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) }

func (c *pipeConn) Close() error {
	c.once.Do(func() {
		c.shut.Store(true)
		_ = c.stdin.Close()
		select {
		case <-c.done:
			return // its number may belong to somebody else by now
		default:
		}
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGTERM)
		t := time.AfterFunc(time.Second, c.kill)
		c.reap()
		t.Stop()
	})
	return nil
}

func (c *pipeConn) LocalAddr() net.Addr              { return pipeAddr(c.name) }
func (c *pipeConn) RemoteAddr() net.Addr             { return pipeAddr(c.name) }
func (c *pipeConn) SetDeadline(time.Time) error      { return errNoDeadline }
func (c *pipeConn) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (c *pipeConn) SetWriteDeadline(time.Time) error { return errNoDeadline }

var errNoDeadline = fmt.Errorf("a process has no deadlines")

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

// tail keeps the last bytes that were written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(p)
	if extra := t.buf.Len() - tailSize; extra > 0 {
		t.buf.Next(extra)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
