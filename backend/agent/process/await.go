package process

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// AwaitExit waits until the child with that number has ended, and leaves it to be reaped: until then its number
// can't become another process's.
func AwaitExit(pid int) error {
	const byPID = 1          // P_PID of sys/wait.h
	var info [128 / 8]uint64 // a siginfo_t, which nothing is read of
	for {
		_, _, e := unix.Syscall6(unix.SYS_WAITID, byPID, uintptr(pid), uintptr(unsafe.Pointer(&info)),
			unix.WEXITED|unix.WNOWAIT, 0, 0)
		runtime.KeepAlive(&info)
		switch e {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return os.NewSyscallError("waitid", e)
		}
	}
}
