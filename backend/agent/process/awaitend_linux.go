package process

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/gpu/procs/proc"
)

// AwaitEnd waits until the process has ended, also one that is no child of this process, or ctx ends, whose error it
// returns. No thread waits with it.
func AwaitEnd(ctx context.Context, id proc.Identity) error {
	fd, err := unix.PidfdOpen(id.PID, 0)
	if err != nil { // it has ended, or the system is older than Linux 5.3
		return pollEndOf(ctx, id)
	}
	_ = unix.SetNonblock(fd, true) // so that the runtime waits for it
	f := os.NewFile(uintptr(fd), "process")
	defer f.Close()
	if id.Look() == proc.Gone { // the number is another's
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	c, err := f.SyscallConn()
	if err != nil {
		return pollEndOf(ctx, id)
	}
	err = c.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
	if ctx.Err() == nil && (err != nil || id.Look() != proc.Gone) {
		return pollEndOf(ctx, id)
	}
	return ctx.Err()
}
