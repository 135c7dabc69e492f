package ssh

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"berth/backend/transport/wire"
)

var (
	// errProhibited means that the server forbids forwarding.
	errProhibited = errors.New("the server forbids forwarding")
	// errNoSocket means that nothing answered at the other end of a forward.
	errNoSocket = errors.New("nothing answers there")
	// errFull means that all sessions of a connection are in use.
	errFull = errors.New("all sessions of the connection are in use")
	// errLineBroke means that the connection ended under a command.
	errLineBroke = errors.New("the line broke")
)

// transport is an SSH connection: our own client, or the user's ssh program.
type transport interface {
	// start runs a command line in the login shell, or the login shell itself if it is empty.
	start(ctx context.Context, command string, o sessionOptions) (*process, error)
	// dial connects to a TCP address or a unix socket as seen from the host: errProhibited, errNoSocket.
	dial(ctx context.Context, network, address string) (net.Conn, error)
	// tellsSignals reports whether the status of a process names the signal that ended it.
	tellsSignals() bool
	// ping makes the host answer.
	ping(ctx context.Context) error
	// heard is when the host last sent anything, zero where the transport can't tell.
	heard() time.Time
	// gone is closed when the connection has ended; why says with what.
	gone() <-chan struct{}
	why() error
	close()
}

// sessionOptions are the terminal and the variables of a session.
type sessionOptions struct {
	TTY  bool
	Term string
	Size wire.Size
	Env  []string // K=V, for what the server accepts
	// NoWait makes start return errFull where all sessions that the server allows are in use.
	NoWait bool
}

// process is a command that runs on the host. Its streams are read and written by one goroutine each.
type process struct {
	stdin  io.WriteCloser
	stdout io.Reader
	stderr io.Reader
	// wait returns how it ended, after the streams were read to their end; errLineBroke if unknown.
	wait   func() (wire.ExitStatus, error)
	signal func(name string) error // without SIG; nil where the transport can't
	resize func(wire.Size) error
	close  func()
}
