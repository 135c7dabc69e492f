package shim

import (
	"os"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"berth/backend/transport/wire"
)

// openTTY opens a terminal device of that size. creack/pty leaves its master blocking (Fd does that), where a
// write to a shell that does not read holds a thread, and Close does not end it.
func openTTY(size wire.Size) (master, tty *os.File, err error) {
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
	resize(master, size)
	return master, tty, nil
}

// resize sets the size of a terminal in cells.
func resize(master *os.File, z wire.Size) {
	rc, err := master.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Control(func(fd uintptr) {
		_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: z.Rows, Col: z.Cols})
	})
}
