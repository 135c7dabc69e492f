package daemon

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"berth/backend/base/paths"
	"berth/backend/service/daemon/connect"
)

// A cleaner of temporary files may remove the socket of a daemon that serves. Whoever would then start another finds
// the lock held and no socket, and tells its holder, whose process id stands in the lock file, by SIGUSR1; so does a
// client with the agent. Daemons from before that wrote no id there, and SIGUSR1 would end them.

// onSignal takes SIGUSR1 for the life of the process: the lock file names it from now on.
func onSignal() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	return c
}

// signLock writes this process's id into the lock file that it has the lock of.
func signLock(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	return err
}

// askForSocket tells the process that has the lock of f that its socket is not there.
func askForSocket(f *os.File) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 20))
	if err != nil {
		return
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && pid > 1 {
		_ = syscall.Kill(pid, syscall.SIGUSR1) // it has the lock, so the id is its own
	}
}

// hasSocket reports whether a daemon can be connected to.
func hasSocket(h paths.Home) bool {
	c, err := net.Dial("unix", h.DaemonSocket())
	if err != nil {
		return !connect.Absent(err)
	}
	_ = c.Close()
	return true
}

// relisten makes the socket and the note again where they are gone, and serves there too.
func (s *Server) relisten(srv *http.Server) {
	if s.serving.Err() != nil || hasSocket(s.cfg.Home) {
		return
	}
	l, err := listen(s.cfg.Home)
	if err == nil {
		if err = s.writeNote(); err != nil {
			_ = l.Close()
		}
	}
	if err != nil {
		s.cfg.Log.Error("the socket is gone and can't be made again", "error", err)
		return
	}
	s.cfg.Log.Warn("the socket was removed, and is made again", "socket", s.cfg.Home.DaemonSocket())
	go func() { // ends with srv
		if err := srv.Serve(s.guarded(l)); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Log.Error("the socket that was made again failed", "error", err)
		}
	}()
}

// guarded lets in only connections of this user.
func (s *Server) guarded(l *net.UnixListener) net.Listener {
	return ownOnly{l, func(uid int) { s.cfg.Log.Warn("refused a connection of another user", "uid", uid) }}
}
