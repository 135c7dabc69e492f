package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// Dialling: where an SSH server forbids forwarding, one exec of `berth agent dial` carries all
// streams. Standard input and output are a yamux connection whose client is on the other side. Each
// stream begins with a line that says where to: "agent", "unix PATH" or "tcp HOST:PORT". The answer
// is the line "ok", after which bytes are passed both ways, or "error TEXT".

const (
	maxDialLine   = 4096
	dialLimit     = 30 * time.Second
	dialStreams   = 256       // at once
	streamWindow  = 4 << 20   // bytes under way per stream: a fast line with 100 ms there and back
	relayBuffer   = 256 << 10 // bytes
	dialLineLimit = 30 * time.Second
	dialPatience  = 24 * time.Hour
)

// ServeDial serves one yamux connection until its client goes or ctx ends. agentSocket is where
// "agent" leads.
func ServeDial(ctx context.Context, conn io.ReadWriteCloser, agentSocket string) error {
	conf := yamux.DefaultConfig()
	conf.LogOutput = io.Discard  // it would write into the user's terminal
	conf.EnableKeepAlive = false // the SSH connection below has its own
	conf.MaxStreamWindowSize = streamWindow
	conf.AcceptBacklog = dialStreams
	conf.StreamOpenTimeout = 0
	// A slow line, or a client that reads later, is no broken one: SSH's keepalives tell. With yamux's own limits
	// (10 s, 5 min) what was sent would be lost.
	conf.ConnectionWriteTimeout, conf.StreamCloseTimeout = dialPatience, dialPatience
	session, err := yamux.Server(conn, conf)
	if err != nil {
		return err
	}
	defer session.Close()
	stop := context.AfterFunc(ctx, func() { _ = session.Close() })
	defer stop()
	var streams sync.WaitGroup
	slots := make(chan struct{}, dialStreams)
	for {
		s, err := session.AcceptStream()
		if err != nil {
			_ = session.Close() // ends the streams
			streams.Wait()
			if errors.Is(err, io.EOF) || errors.Is(err, yamux.ErrSessionShutdown) || ctx.Err() != nil {
				return nil
			}
			return err
		}
		slots <- struct{}{}
		streams.Go(func() {
			defer func() { <-slots }()
			serveStream(ctx, s, agentSocket)
		})
	}
}

func serveStream(ctx context.Context, s *yamux.Stream, agentSocket string) {
	defer s.Close()
	_ = s.SetReadDeadline(time.Now().Add(dialLineLimit))
	r := bufio.NewReaderSize(s, maxDialLine)
	raw, err := r.ReadSlice('\n')
	if err != nil {
		_, _ = io.WriteString(s, "error the stream did not say where to\n")
		return
	}
	network, address, err := parseTarget(strings.TrimSuffix(string(raw), "\n"), agentSocket)
	var c net.Conn
	if err == nil {
		d := net.Dialer{Timeout: dialLimit}
		c, err = d.DialContext(ctx, network, address)
	}
	if err != nil {
		_, _ = fmt.Fprintf(s, "error %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	defer c.Close()
	if _, err := io.WriteString(s, "ok\n"); err != nil {
		return
	}
	_ = s.SetReadDeadline(time.Time{})
	var up sync.WaitGroup
	up.Go(func() {
		copyHalf(c, r)
		if cw, ok := c.(interface{ CloseWrite() error }); ok {
			_ = cw.CloseWrite()
		}
	})
	copyHalf(s, c)
	_ = s.Close() // yamux closes the writing half only; what the client still sends is passed on
	if _, err := c.Write(nil); err != nil {
		_ = c.Close()
	}
	up.Wait()
}

func copyHalf(w io.Writer, r io.Reader) {
	// Plain Read and Write: a WriterTo of the reader would use its own, small buffer.
	_, _ = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, relayBuffer))
}

// parseTarget reads the first line of a stream.
func parseTarget(line, agentSocket string) (network, address string, err error) {
	verb, rest, _ := strings.Cut(line, " ")
	switch {
	case strings.IndexByte(line, 0) >= 0:
	case verb == "agent" && rest == "":
		return "unix", agentSocket, nil
	case verb == "unix" && filepath.IsAbs(rest):
		return "unix", rest, nil
	case verb == "tcp":
		if _, port, err := net.SplitHostPort(rest); err == nil && port != "" {
			return "tcp", rest, nil
		}
	}
	return "", "", fmt.Errorf("the target %.60q is none of: agent, unix PATH, tcp HOST:PORT", line)
}

// stdioConn is standard input and output as one connection.
type stdioConn struct {
	io.Reader
	io.Writer
	close func() error
}

// Close implements io.Closer.
func (c stdioConn) Close() error { return c.close() }

func dialCommand(ctx context.Context, args []string, stdio Stdio) error {
	o, err := parse("dial", args, stdio.Err, nil)
	if err != nil {
		return err
	}
	conn := stdioConn{stdio.In, stdio.Out, func() error {
		// A read of standard input can't be interrupted otherwise.
		for _, f := range []any{stdio.In, stdio.Out} {
			if c, ok := f.(*os.File); ok {
				_ = c.Close()
			}
		}
		return nil
	}}
	return ServeDial(ctx, conn, o.Socket)
}
