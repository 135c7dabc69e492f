package ssh

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"
)

// A server that has as many connections in the middle of signing in as it allows (MaxStartups) closes further ones
// before it says who it is. That passes by itself, and is tried again; so it is with what stands before a server.

// busyTries is how often a connection is made again that was closed that early.
const busyTries = 5

// errBusy means that a server closed the connection before it showed its host key.
var errBusy = errors.New("the server closed the connection before it showed its host key")

// closedEarly reports whether err is the end of a connection by the server, and no failure of a step.
func closedEarly(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// saysBusy reports whether the user's own ssh says that.
func saysBusy(said string) bool {
	return strings.Contains(said, "kex_exchange_identification: ") &&
		(strings.Contains(said, "closed by remote host") || strings.Contains(said, "reset by peer"))
}

// whenNotBusy calls try, again after ever longer pauses as long as it is errBusy.
func (m *Manager) whenNotBusy(ctx context.Context, try func() error) error {
	for n := 0; ; n++ {
		err := try()
		if n == busyTries || !errors.Is(err, errBusy) {
			return err
		}
		// Up to half as long again, so that those who were refused together don't come back together.
		pause := m.o.Backoff / 5 << n
		select {
		case <-time.After(pause + rand.N(pause/2+1)):
		case <-ctx.Done():
			return err
		}
	}
}
