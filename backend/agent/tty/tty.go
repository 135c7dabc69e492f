// Package tty opens terminal devices.
package tty

import (
	"os"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// Open opens a terminal device. creack/pty leaves its master blocking (Fd does that), where a read can't be
// ended by a deadline and holds a thread.
func Open(rows, cols uint16) (master, tty *os.File, err error) {
	if master, tty, err = pty.Open(); err != nil {
		return nil, nil, err
	}
	rc, err := master.SyscallConn()
	if err == nil {
		cerr := rc.Control(func(fd uintptr) { err = unix.SetNonblock(int(fd), true) })
		if err == nil {
			err = cerr
		}
	}
	if err != nil {
		_ = master.Close()
		_ = tty.Close()
		return nil, nil, err
	}
	Resize(master, rows, cols)
	return master, tty, nil
}

// Resize sets the size of a terminal in cells; 0 leaves it as it is. An error means that the terminal has gone.
func Resize(master *os.File, rows, cols uint16) {
	rc, err := master.SyscallConn()
	if err != nil || rows == 0 || cols == 0 {
		return
	}
	_ = rc.Control(func(fd uintptr) {
		_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
}
