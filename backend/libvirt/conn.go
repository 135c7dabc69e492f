package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"

	"berth/backend/api"
)

// A call that waits makes libvirtd say something each checkEvery; a connection on which nothing at all
// arrives for giveUpAfter is lost. A quiet connection costs nothing.
const (
	checkEvery  = 15 * time.Second
	giveUpAfter = 45 * time.Second
)

// conn is one connection to libvirtd.
type conn struct {
	l    *golibvirt.Libvirt
	line *line
}

// line is a connection that notices its end and when it last brought something.
type line struct {
	net.Conn
	once sync.Once
	gone chan struct{}
	last atomic.Int64 // Unix nanoseconds
}

func (l *line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n > 0 {
		l.last.Store(time.Now().UnixNano())
	}
	if err != nil {
		l.once.Do(func() { close(l.gone) })
	}
	return n, err
}

func (c *conn) alive() bool {
	select {
	case <-c.line.gone:
		return false
	default:
		return true
	}
}

func (c *conn) close() { _ = c.line.Close() } // nothing depends on its result: calls in flight end with an error

// shared returns the backend's connection, made again if it was lost.
func (b *Backend) shared(ctx context.Context) (*conn, error) {
	select {
	case b.dialing <- struct{}{}:
		defer func() { <-b.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if b.conn != nil && b.conn.alive() {
		return b.conn, ctx.Err()
	}
	c, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	b.conn = c
	b.known.reset()
	b.watch(c)
	return c, nil
}

// connect makes a connection of its own: for what is long or moves many bytes.
func (b *Backend) connect(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	nc, err := b.dial(ctx)
	if err != nil {
		return nil, err
	}
	ln := &line{Conn: nc, gone: make(chan struct{})}
	ln.last.Store(time.Now().UnixNano())
	c := &conn{l: golibvirt.NewWithDialer(dialers.NewAlreadyConnected(ln)), line: ln}
	at := golibvirt.QEMUSystem
	if b.cfg.uri.session {
		at = golibvirt.QEMUSession
	}
	if _, err := ask(ctx, c, func(l *golibvirt.Libvirt) (struct{}, error) {
		return struct{}{}, l.ConnectToURI(at)
	}); err != nil {
		c.close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var e golibvirt.Error
		if errors.As(err, &e) {
			return nil, b.explain("connecting to libvirtd", err)
		}
		return nil, api.Errorf(api.CodeUnreachable, "connecting to libvirtd (%s): %w", b.cfg.uri.text, err).
			WithHint("%s", b.cfg.uri.look())
	}
	return c, nil
}

// ask makes one call. It ends when ctx ends, with its error; libvirtd may go on with what it was asked.
func ask[T any](ctx context.Context, c *conn, f func(l *golibvirt.Libvirt) (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	// The goroutine ends with libvirtd's answer or with the connection.
	done := make(chan answer, 1)
	go func() {
		v, err := f(c.l)
		done <- answer{v, err}
	}()
	var probed time.Time
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	for {
		select {
		case a := <-done:
			return a.v, a.err
		case <-ctx.Done():
			return none, ctx.Err()
		case now := <-check.C:
			silent := now.Sub(time.Unix(0, c.line.last.Load()))
			if silent > giveUpAfter {
				c.close()
			} else if silent > checkEvery && now.Sub(probed) > checkEvery {
				probed = now
				go func() { _, _ = c.l.ConnectGetLibVersion() }() // only that something arrives counts
			}
		}
	}
}

// call makes one call on the shared connection and explains its error; what says what is tried.
func call[T any](ctx context.Context, b *Backend, what string, f func(l *golibvirt.Libvirt) (T, error)) (T, error) {
	c, err := b.shared(ctx)
	if err != nil {
		var none T
		return none, err
	}
	v, err := ask(ctx, c, f)
	return v, b.explain(what, err)
}

// do is call without an answer.
func (b *Backend) do(ctx context.Context, what string, f func(l *golibvirt.Libvirt) error) error {
	_, err := call(ctx, b, what, func(l *golibvirt.Libvirt) (struct{}, error) { return struct{}{}, f(l) })
	return err
}

// apart makes a call on a connection of its own, which ends with it: a stream that is cut, or a copy that
// takes an hour, disturbs nothing else.
func apart[T any](ctx context.Context, b *Backend, what string, f func(l *golibvirt.Libvirt) (T, error)) (T, error) {
	c, err := b.connect(ctx)
	if err != nil {
		var none T
		return none, err
	}
	defer c.close()
	v, err := ask(ctx, c, f)
	return v, b.explain(what, err)
}

// dial reaches libvirtd's socket.
func (b *Backend) dial(ctx context.Context) (net.Conn, error) {
	u := b.cfg.uri
	var first error
	for _, s := range u.sockets() {
		var nc net.Conn
		var err error
		if u.host != nil {
			if b.env.Remote == nil {
				return nil, api.Errorf(api.CodeUnsupported, "reaching %s: this workspace has no SSH connections", u.text)
			}
			nc, err = b.env.Remote.Dial(ctx, *u.host, "unix", s)
		} else {
			nc, err = (&net.Dialer{}).DialContext(ctx, "unix", s)
		}
		if err == nil {
			return nc, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if first == nil || errors.Is(first, fs.ErrNotExist) && !errors.Is(err, fs.ErrNotExist) {
			first = err // the one that tells most
		}
	}
	if u.host != nil {
		var known *api.Error
		if errors.As(first, &known) {
			return nil, fmt.Errorf("reaching libvirtd on %s: %w", u.via(), first)
		}
		return nil, api.Errorf(api.CodeUnreachable, "reaching libvirtd on %s: %w", u.via(), first).
			WithHint("see whether libvirtd runs there and whether you are in its group libvirt")
	}
	if u.session && u.socket == "" && missing(first) {
		return b.spawn(ctx)
	}
	return nil, b.unreachable(first)
}

func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, os.ErrNotExist) || isRefused(err)
}

// unreachable explains why no socket of this host answers.
func (b *Backend) unreachable(err error) error {
	e := api.Errorf(api.CodeUnreachable, "reaching libvirtd (%s): %w", b.cfg.uri.text, err)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return e.WithHint("add yourself to the group libvirt (sudo usermod -aG libvirt $USER) and log in again, or set backend.libvirt.uri to qemu:///session")
	case b.cfg.uri.socket != "":
		return e.WithHint("nobody listens at the socket %s, which backend.libvirt.uri names: start the libvirtd that has it, or correct the setting", b.cfg.uri.socket)
	case b.cfg.uri.session && installed():
		return e.WithHint("libvirt is installed here, and the daemon of your session does not answer: %s list starts it and says what is wrong", b.cfg.uri.virsh())
	case errors.Is(err, fs.ErrNotExist) && installed():
		return e.WithHint("libvirt is installed here, and its daemon does not run: sudo systemctl start libvirtd")
	case errors.Is(err, fs.ErrNotExist):
		return e.WithHint("install libvirt and qemu (Debian, Ubuntu: libvirt-daemon-system qemu-system-x86), or set backend.libvirt.uri to a host that has them: qemu+ssh://user@host/system")
	}
	return e.WithHint("start libvirtd: sudo systemctl start libvirtd")
}

// spawn starts this user's session daemon, as virsh does: it ends by itself when nobody has used it for
// two minutes and none of its machines runs.
func (b *Backend) spawn(ctx context.Context) (net.Conn, error) {
	var failed error
	for i, program := range []string{"libvirtd", "virtqemud"} {
		path, err := lookProgram(program)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		out, err := exec.CommandContext(ctx, path, "--daemon", "--timeout=120").CombinedOutput()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		// Where it fails another process may have started one at the same moment.
		nc, derr := (&net.Dialer{}).DialContext(ctx, "unix", b.cfg.uri.sockets()[i])
		if derr == nil {
			return nc, nil
		}
		failed = errors.Join(failed, derr)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w: %s", path, err, lastLine(out)))
		}
	}
	return nil, api.Errorf(api.CodeUnreachable, "starting a session daemon (%s): %w", b.cfg.uri.text, failed).
		WithHint("install libvirt and qemu (Debian, Ubuntu: libvirt-daemon qemu-system-x86)")
}

// installed reports whether this host has a libvirt daemon.
func installed() bool {
	for _, p := range []string{"libvirtd", "virtqemud"} {
		if _, err := lookProgram(p); err == nil {
			return true
		}
	}
	return false
}

// lookProgram finds a daemon, also where users have no sbin in their PATH.
func lookProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, d := range []string{"/usr/sbin/", "/usr/local/sbin/"} {
		if p, derr := exec.LookPath(d + name); derr == nil {
			return p, nil
		}
	}
	return "", err
}
