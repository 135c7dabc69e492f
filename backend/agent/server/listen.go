package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/base/peercred"
)

// listen makes the agent's socket: 0600, in a folder that belongs to this user alone. The caller
// holds the agent's lock, so a socket that is there is stale.
func listen(path string) (*net.UnixListener, error) {
	if len(path) > part.MaxSocket {
		return nil, fmt.Errorf("the socket's path %s has %d bytes; the system takes %d", path, len(path), part.MaxSocket)
	}
	if err := privateSocketDir(path); err != nil {
		return nil, fmt.Errorf("making the folder for the agent's socket: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing a stale socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	// The folder is closed to others, so nobody connects before this.
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("closing %s to other users: %w", path, err)
	}
	return l, nil
}

// privateSocketDir makes the socket's folder; below Berth's own folder in /tmp, which anybody might
// have made first, that one is checked as well.
func privateSocketDir(path string) error {
	dir := filepath.Dir(path)
	if filepath.Dir(dir) == paths.RunBase() {
		if err := paths.PrivateDir(paths.RunBase()); err != nil {
			return err
		}
	}
	return paths.PrivateDir(dir)
}

// guard lets only this user's connections through. Accept is called by one goroutine at a time.
type guard struct {
	*net.UnixListener
	uid   int
	once  sync.Once
	note  func(uid int)
	slots chan struct{} // one for each open connection
}

// restLimit is how long a retired socket is accepted from at the least: who found its path just before that was
// removed is in its queue by then.
const restLimit = 20 * time.Millisecond

// retire ends a socket that is served and that no path leads to any more, once its queue is empty: to close it would
// cut off who is in there.
func (g *guard) retire() {
	g.SetUnlinkOnClose(false)
	_ = g.SetDeadline(time.Now().Add(restLimit)) // then Accept fails, and the server closes it
}

// queued reports whether somebody has connected who was not accepted yet.
func (g *guard) queued() bool {
	rc, err := g.SyscallConn()
	if err != nil {
		return false
	}
	some := false
	err = rc.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		some = err == nil && n > 0
	})
	return some && err == nil
}

// maxConns is how many connections an agent serves at once; further ones wait.
const maxConns = 2048

// counted is a connection that holds a slot until it is closed.
type counted struct {
	*net.UnixConn
	once  sync.Once
	slots chan struct{}
	waits bool // for an answer; of unanswered
}

// NetConn is the connection itself.
func (c *counted) NetConn() net.Conn { return c.UnixConn }

// Close implements net.Conn.
func (c *counted) Close() error {
	c.once.Do(func() { <-c.slots })
	return c.UnixConn.Close()
}

// Accept implements net.Listener.
func (g *guard) Accept() (net.Conn, error) {
	for {
		g.slots <- struct{}{}
		c, err := g.AcceptUnix()
		if err != nil {
			<-g.slots
			if errors.Is(err, os.ErrDeadlineExceeded) { // it was retired
				if g.queued() {
					_ = g.SetDeadline(time.Now().Add(restLimit))
					continue
				}
				err = net.ErrClosed
			}
			return nil, err
		}
		uid, err := peercred.UID(c)
		if err == nil && uid == g.uid {
			return &counted{UnixConn: c, slots: g.slots}, nil
		}
		<-g.slots
		if g.note != nil {
			g.once.Do(func() { g.note(uid) })
		}
		refuse(c, uid)
	}
}

// refusals bounds how many strangers are told at once.
var refusals = make(chan struct{}, 8)

// refuse tells a stranger why, if that takes no waiting for the agent.
func refuse(c *net.UnixConn, uid int) {
	select {
	case refusals <- struct{}{}:
	default:
		_ = c.Close()
		return
	}
	go func() { // ends within its deadline
		defer func() { <-refusals }()
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Second))
		_, _ = c.Read(make([]byte, 4<<10)) // an answer before the request would be lost on many clients
		_ = api.WriteRefusal(c, api.Errorf(api.CodeForbidden,
			"this agent belongs to another user of this host (you are %d)", uid))
	}()
}
