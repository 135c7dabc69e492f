package pipe

import (
	"os"

	"golang.org/x/sys/unix"
)

// Grow gives a pipe room for a few large reads; where the user is over the system's limit, or f is no pipe, nothing
// happens.
func Grow(f *os.File) {
	if rc, err := f.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, Size) })
	}
}

// Room is how many bytes a pipe holds: whoever has it open may have made it larger.
func Room(f *os.File) int {
	room := Size
	if rc, err := f.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) {
			if n, err := unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0); err == nil { // an error: it is a terminal
				room = n
			}
		})
	}
	return room
}

// Waiting is how many bytes wait in a pipe to be read; 0 where f is no pipe.
func Waiting(f *os.File) int {
	waiting := 0
	if rc, err := f.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) {
			if _, err := unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0); err != nil {
				return
			}
			if n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ); err == nil {
				waiting = n
			}
		})
	}
	return waiting
}
