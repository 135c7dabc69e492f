package process

import (
	"os"

	"golang.org/x/sys/unix"
)

// allocate takes blocks for the first bytes of a file, whose size stays as it is.
func allocate(f *os.File, bytes int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, bytes)
		if err != unix.EINTR {
			return err
		}
	}
}

// CloseOnExec keeps all descriptors from first on from what is started.
func CloseOnExec(first int) {
	if unix.CloseRange(uint(first), 1<<31-1, unix.CLOSE_RANGE_CLOEXEC) != nil { // before Linux 5.11
		closeEach(first)
	}
}

// rssUnit is what the system counts ru_maxrss in, in bytes.
const rssUnit = 1024
