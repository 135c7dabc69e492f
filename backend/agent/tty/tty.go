// Package tty opens terminal devices. What a terminal shows is held by package shim.
package tty

import (
	"os"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"berth/backend/transport/wire"
)

// Open opens a terminal device of that size. creack/pty leaves its master blocking (Fd does that), where a read or a
// write holds a thread, and neither a deadline nor Close ends it.
func Open(size wire.Size) (master, tty *os.File, err error) {
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
	Resize(master, size)
	return master, tty, nil
}

// Resize sets the size of a terminal in cells; one without rows or columns leaves it as it is.
func Resize(master *os.File, z wire.Size) {
	rc, err := master.SyscallConn()
	if err != nil || z.Rows == 0 || z.Cols == 0 {
		return
	}
	_ = rc.Control(func(fd uintptr) {
		_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: z.Rows, Col: z.Cols})
	})
}
