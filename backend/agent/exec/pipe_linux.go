package exec

import (
	"os"

	"golang.org/x/sys/unix"
)

// growPipe gives a pipe room for a few large reads; a user over the system's limit keeps the default.
func growPipe(f *os.File) {
	if rc, err := f.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
	}
}

// pipeRoom is how many bytes a pipe holds: whoever has it open may have made it larger.
func pipeRoom(f *os.File) int {
	room := pipeSize
	if rc, err := f.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) {
			if n, err := unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0); err == nil { // an error: it is a terminal
				room = n
			}
		})
	}
	return room
}
