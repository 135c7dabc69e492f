package shim

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"berth/backend/agent/process"
	"berth/backend/transport/wire"
)

// Conn is the agent's connection to a shim.
type Conn struct {
	net.Conn
	Reader *wire.Reader
	Writer *wire.Writer
	Info   Info // as answered
}

// answerLimit is how long a living shim may take to answer.
const answerLimit = 5 * time.Second

// Dial connects to the shim of a record and makes a request. A Failure is returned as *Failure.
func Dial(ctx context.Context, rec Record, req Request) (*Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", rec.Socket)
	if err != nil && errors.Is(err, os.ErrNotExist) && rec.Shim.Alive() {
		// A cleaner of /tmp took the socket of a living shim: it makes a new one when asked.
		c, err = redial(ctx, rec)
	}
	if err != nil {
		return nil, fmt.Errorf("reaching the shim of terminal %s: %w", rec.ID, err)
	}
	s := &Conn{Conn: c, Reader: wire.NewReader(bufio.NewReaderSize(c, 32<<10)), Writer: wire.NewWriter(c)}
	_ = c.SetDeadline(time.Now().Add(answerLimit))
	if err = s.Writer.WriteJSON(wire.Request, req); err == nil && req.Op != "kill" {
		err = s.answer()
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return s, c.SetDeadline(time.Time{})
}

func redial(ctx context.Context, rec Record) (net.Conn, error) {
	if err := os.MkdirAll(filepath.Dir(rec.Socket), 0o700); err != nil {
		return nil, err
	}
	if err := rec.Shim.Signal(syscall.SIGUSR1); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	var d net.Dialer
	for {
		c, err := d.DialContext(ctx, "unix", rec.Socket)
		if err == nil || ctx.Err() != nil {
			return c, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *Conn) answer() error {
	k, p, err := s.Reader.Next()
	if err != nil {
		return fmt.Errorf("the shim did not answer: %w", err)
	}
	switch k {
	case wire.Started:
		return json.Unmarshal(p, &s.Info)
	case wire.Error:
		f := &Failure{}
		if err := json.Unmarshal(p, f); err != nil {
			return err
		}
		return f
	}
	return fmt.Errorf("the shim answered with frame %q", byte(k))
}

// WaitExit reads until the terminal's end. An error means that the shim went without saying how the
// terminal ended; its folder may tell.
func (s *Conn) WaitExit() (wire.ExitStatus, error) {
	for {
		k, p, err := s.Reader.Next()
		if err != nil {
			return wire.ExitStatus{}, err
		}
		if k == wire.Exit {
			var x wire.ExitStatus
			return x, json.Unmarshal(p, &x)
		}
	}
}

// Start starts a terminal under a shim by its command line and waits until it runs. The shim belongs to nobody from
// then on.
func Start(ctx context.Context, command, env []string, spec Spec, log *os.File) error {
	return process.Start(ctx, command, env, spec, log)
}
