package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"berth/backend/transport/wire"
)

// native is a transport of our own SSH client.
type native struct {
	client *gossh.Client
	raw    net.Conn
	done   chan struct{}
	err    error // valid when done is closed
	gate   *gate
	first  *firstByte
}

func newNative(client *gossh.Client, raw net.Conn, first *firstByte) *native {
	n := &native{client: client, raw: raw, done: make(chan struct{}), gate: newGate(), first: first}
	go func() {
		n.err = client.Wait()
		_ = raw.Close()
		close(n.done)
	}()
	return n
}

func (n *native) gone() <-chan struct{} { return n.done }
func (n *native) why() error            { <-n.done; return n.err }
func (n *native) heard() time.Time      { return time.Unix(0, n.first.heard.Load()) }

func (n *native) tellsSignals() bool { return true }

func (n *native) close() {
	_ = n.client.Close()
	_ = n.raw.Close()
	<-n.done
}

func (n *native) ping(ctx context.Context) error {
	answer := make(chan error, 1)
	go func() {
		// A refusal of this unknown request is an answer too.
		_, _, err := n.client.SendRequest("keepalive@openssh.com", true, nil)
		answer <- err
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *native) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := opened(ctx, n.done, func() (net.Conn, error) { return n.client.Dial(network, address) })
	var open *gossh.OpenChannelError
	if errors.As(err, &open) {
		switch open.Reason {
		case gossh.Prohibited, gossh.UnknownChannelType:
			return nil, fmt.Errorf("%w (%s)", errProhibited, oneLine(open.Message))
		case gossh.ConnectionFailed:
			return nil, fmt.Errorf("%w: %s (%s)", errNoSocket, address, oneLine(open.Message))
		}
	}
	return conn, err
}

// opened opens a channel. The library waits for ever for the answer where the line breaks just before it is asked: its
// mux (x/crypto/ssh/mux.go, loop) closes the channels that it knows then, and takes note of a new one after that.
func opened[T io.Closer](ctx context.Context, line <-chan struct{}, open func() (T, error)) (T, error) {
	type answer struct {
		what T
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		what, err := open()
		answered <- answer{what, err}
	}()
	var none T
	var err error
	select {
	case a := <-answered:
		return a.what, a.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-line:
		err = errLineBroke
	}
	go func() { // it ends at the latest with the line, but for the case above
		if a := <-answered; a.err == nil {
			_ = a.what.Close()
		}
	}()
	return none, err
}

func (n *native) start(ctx context.Context, command string, o sessionOptions) (*process, error) {
	return n.session(ctx, o.NoWait, func(s *gossh.Session) error {
		for _, kv := range o.Env {
			if k, v, ok := strings.Cut(kv, "="); ok {
				// AcceptEnv decides; a refusal is how most servers are set up.
				_ = s.Setenv(k, v)
			}
		}
		if o.TTY {
			term := o.Term
			if term == "" {
				term = "xterm"
			}
			if err := s.RequestPty(term, int(o.Size.Rows), int(o.Size.Cols), gossh.TerminalModes{gossh.ECHO: 1}); err != nil {
				return fmt.Errorf("the server gives no terminal: %w", err)
			}
		}
		if command == "" {
			return s.Shell()
		}
		return s.Start(command)
	})
}

func (n *native) alive() bool {
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

// session opens a session and starts in it what begin asks for. With noWait it returns errFull where
// all the sessions that the server allows are in use.
func (n *native) session(ctx context.Context, noWait bool, begin func(*gossh.Session) error) (*process, error) {
	s, release, err := n.gate.open(ctx, n.client, n.done, noWait)
	if err != nil {
		if !n.alive() {
			return nil, fmt.Errorf("%w (%w)", errLineBroke, err)
		}
		return nil, err
	}
	var once sync.Once
	hangUp := func() { once.Do(func() { _ = s.Close(); release() }) }
	stop := context.AfterFunc(ctx, hangUp)
	defer stop()
	p := &process{close: hangUp, resize: func(z wire.Size) error { return s.WindowChange(int(z.Rows), int(z.Cols)) }}
	p.signal = func(name string) error { return s.Signal(gossh.Signal(name)) }
	p.wait = func() (wire.ExitStatus, error) { return exitStatus(s.Wait()) }
	if p.stdin, err = s.StdinPipe(); err == nil {
		if p.stdout, err = s.StdoutPipe(); err == nil {
			p.stderr, err = s.StderrPipe()
		}
	}
	if err == nil {
		err = begin(s)
	}
	if err != nil {
		hangUp()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !n.alive() {
			return nil, fmt.Errorf("%w (%w)", errLineBroke, err)
		}
		return nil, err
	}
	return p, nil
}

// exitStatus turns the end of a session into that of a process.
func exitStatus(err error) (wire.ExitStatus, error) {
	if err == nil {
		return wire.ExitStatus{}, nil
	}
	var exit *gossh.ExitError
	if !errors.As(err, &exit) {
		return wire.ExitStatus{}, fmt.Errorf("%w (%w)", errLineBroke, err)
	}
	if sig := exit.Signal(); sig != "" {
		return wire.ExitStatus{Code: 128 + signalNumbers[sig], Signal: oneLine(sig)}, nil
	}
	return wire.ExitStatus{Code: exit.ExitStatus()}, nil
}
