package ssh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"

	"berth/backend/base/shellquote"
)

// tunnel is one `berth-agent dial` on the host. Its standard input and output carry yamux streams:
// each starts with a line that says where to (agent, unix PATH, tcp HOST:PORT), answered by a line,
// ok or error TEXT.
type tunnel struct {
	p    *process
	mux  *yamux.Session
	said tail
	done chan struct{} // closed when its stderr has ended, and its end was looked at

	closing atomic.Bool // it ends because we say so, and not by itself
}

// muxConfig suits a line whose health SSH's own keepalives watch.
func muxConfig() *yamux.Config {
	c := yamux.DefaultConfig()
	c.EnableKeepAlive = false
	// A slow line, or a client that reads later, is no broken one.
	c.ConnectionWriteTimeout, c.StreamCloseTimeout = 24*time.Hour, 24*time.Hour
	c.MaxStreamWindowSize = 4 << 20
	c.LogOutput = io.Discard
	return c
}

// getTunnel returns the connection's tunnel, starting it if there is none.
func (c *Conn) getTunnel(ctx context.Context, p *placement) (*tunnel, error) {
	select {
	case c.agent.starting <- struct{}{}:
		defer func() { <-c.agent.starting }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.agent.mu.Lock()
	t, leaving := c.agent.tunnel, c.agent.leaving
	c.agent.mu.Unlock()
	if leaving {
		return nil, errLeaving
	}
	if t != nil {
		if !t.mux.IsClosed() {
			return t, nil
		}
		t.close()
	}
	t, err := c.startTunnel(ctx, p)
	if err != nil {
		t = nil
	}
	c.agent.mu.Lock()
	c.agent.tunnel, leaving = t, c.agent.leaving
	c.agent.mu.Unlock()
	if t != nil && (leaving || c.ctx.Err() != nil) { // who closes it then may not have seen it
		t.close()
		return nil, errLineBroke
	}
	return t, err
}

func (c *Conn) startTunnel(ctx context.Context, p *placement) (*tunnel, error) {
	mark := newMark()
	proc, err := c.tr.start(ctx, shellLine("echo "+mark+"; exec "+p.command("dial "+shellquote.Word("--socket="+p.Socket))), sessionOptions{})
	if err != nil {
		return nil, err
	}
	t := &tunnel{p: proc, done: make(chan struct{})}
	began := make(chan struct{}) // closed when it is known whether there is a mux
	go func() {
		defer close(t.done)
		_, _ = io.Copy(&t.said, proc.stderr)
		<-began
		if t.mux == nil {
			return
		}
		<-t.mux.CloseChan() // all that it said was read
		if o, ok := c.tr.(*openssh); ok {
			if st, err := proc.wait(); !t.closing.Load() && (err != nil || st.Code == sshFailed) {
				o.fail(errors.New(cmp.Or(oneLine(t.said.String()), "ssh has ended")))
			}
		}
	}()
	stop := context.AfterFunc(ctx, proc.close)
	r, _, _, err := afterMark(proc.stdout, mark, 256<<10)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil {
		t.mux, err = yamux.Client(&processConn{r: r, p: proc}, muxConfig())
	}
	close(began)
	if err != nil {
		proc.close()
		<-t.done
		return nil, err
	}
	return t, nil
}

func (t *tunnel) close() {
	if t.mux != nil {
		t.closing.Store(!t.mux.IsClosed())
		_ = t.mux.Close()
	}
	t.p.close()
	<-t.done
}

// open makes one stream to where.
func (t *tunnel) open(ctx context.Context, where string) (net.Conn, error) {
	if strings.ContainsAny(where, "\r\n") {
		return nil, errors.New("an address has one line")
	}
	s, err := t.mux.OpenStream()
	if err != nil {
		return nil, t.error(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close(); _ = s.SetDeadline(time.Now()) })
	answer, err := ask1(s, where)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	switch {
	case err != nil:
		_ = s.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, t.error(err)
	case answer == "ok":
		return s, nil
	}
	_ = s.Close()
	return nil, fmt.Errorf("%w: %s", errNoSocket, oneLine(strings.TrimPrefix(answer, "error ")))
}

func (t *tunnel) error(err error) error {
	if said := oneLine(t.said.String()); said != "" {
		return fmt.Errorf("the agent's relay ended: %s (%w)", said, err)
	}
	return err
}

// ask1 sends one line and reads one, byte by byte: what follows belongs to the stream.
func ask1(s io.ReadWriter, line string) (string, error) {
	if _, err := io.WriteString(s, line+"\n"); err != nil {
		return "", err
	}
	var b [1]byte
	var answer []byte
	for len(answer) < 4096 {
		if _, err := io.ReadFull(s, b[:]); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return string(answer), nil
		}
		answer = append(answer, b[0])
	}
	return "", errors.New("the relay's answer has no end")
}

// forward connects to network and address as seen from the host.
func (c *Conn) forward(ctx context.Context, network, address string) (net.Conn, error) {
	p, _ := c.agent.known()
	if p == nil || !p.viaExec() {
		conn, err := c.tr.dial(ctx, network, address)
		if !errors.Is(err, errProhibited) {
			return conn, c.lineError(ctx, err)
		}
	}
	if p == nil {
		conn, err := c.Agent(ctx)
		if err != nil {
			return nil, err
		}
		_ = conn.Close()
		p, _ = c.agent.known()
	}
	t, err := c.getTunnel(ctx, p)
	if err != nil {
		return nil, c.lineError(ctx, err)
	}
	conn, err := t.open(ctx, network+" "+address)
	return conn, c.lineError(ctx, err)
}

// processConn is the standard input and output of a process on the host.
type processConn struct {
	r io.Reader
	p *process
}

func (c *processConn) Read(b []byte) (int, error)  { return c.r.Read(b) }
func (c *processConn) Write(b []byte) (int, error) { return c.p.stdin.Write(b) }
func (c *processConn) Close() error                { c.p.close(); return nil }
