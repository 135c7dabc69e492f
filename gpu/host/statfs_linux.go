package host

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// statfs asks the kernel; for a share it may block until the server answers.
func statfs(mount string) (Space, error) {
	var s unix.Statfs_t
	for {
		err := unix.Statfs(mount, &s)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return Space{}, &os.PathError{Op: "statfs", Path: mount, Err: err}
		}
	}
	unit := uint64(s.Frsize)
	if unit == 0 {
		unit = uint64(s.Bsize)
	}
	size := func(blocks uint64) int64 {
		if unit == 0 || blocks > math.MaxInt64/unit {
			return 0 // file systems without an end say 2^64
		}
		return int64(blocks * unit)
	}
	out := Space{Total: size(s.Blocks), Free: size(s.Bfree), Available: size(s.Bavail), Inodes: s.Files,
		InodesFree: s.Ffree}
	if fi, err := os.Lstat(mount); err == nil {
		out.NotFolder = !fi.IsDir()
	}
	return out, nil
}
