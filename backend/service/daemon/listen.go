package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"berth/backend/api"
	"berth/backend/base/flock"
	"berth/backend/base/paths"
	"berth/backend/base/peercred"
	"berth/backend/service/daemon/connect"
)

// maxSocketPath is the shortest limit of the systems that Berth runs on (macOS: 104 with the NUL).
const maxSocketPath = 103

// lockLimit is how long a daemon waits for the one before it to end.
const lockLimit = 15 * time.Second

// soonUp is how long a daemon that starts or ends may have no socket.
const soonUp = time.Second

// lock takes the home's daemon lock for the life of the process. Where another daemon answers it
// fails at once; one that is ending is waited for.
func lock(ctx context.Context, h paths.Home) (*os.File, error) {
	f, err := os.OpenFile(h.DaemonLock(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, connect.StoreError(err, h)
	}
	ctx, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	told := false
	began := time.Now()
	for {
		err := flock.Try(f)
		if err == nil {
			err = signLock(f)
		}
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, flock.ErrHeld) {
			_ = f.Close()
			return nil, err
		}
		if c, err := new(net.Dialer).DialContext(ctx, "unix", h.DaemonSocket()); err == nil {
			_ = c.Close()
			_ = f.Close()
			return nil, errRunning
		}
		if !told && time.Since(began) > soonUp {
			askForSocket(f)
			told = true
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, errRunning
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// errRunning says that the home has a daemon already.
var errRunning = api.Errorf(api.CodeConflict, "a daemon of this home is running already")

// listen opens the home's socket, 0600 in a 0700 folder. The lock must be held: a socket that is
// there is a leftover.
func listen(h paths.Home) (*net.UnixListener, error) {
	path := h.DaemonSocket()
	if len(path) > maxSocketPath {
		return nil, api.Errorf(api.CodeFailed, "the socket's path %s has %d characters, the system allows %d",
			path, len(path), maxSocketPath)
	}
	if err := h.PrepareRun(); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing the old socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("opening the socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // the next daemon may have its socket there by then
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("closing the socket to others: %w", err)
	}
	return l, nil
}

// ownOnly lets in only connections of this user (and of root, who may anyway).
type ownOnly struct {
	*net.UnixListener
	refused func(uid int)
}

// Accept implements net.Listener.
func (o ownOnly) Accept() (net.Conn, error) {
	for {
		c, err := o.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peercred.UID(c)
		if err == nil && (uid == os.Getuid() || uid == 0) {
			return c, nil
		}
		_ = c.Close()
		o.refused(uid)
	}
}
