package filecopy

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Device says on which file system a folder is: by the id that it carries itself, which stays over reboots, else by the
// number of its device.
func Device(path string) (string, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return "", &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	if fs.Fsid.Val != [2]int32{} {
		return fmt.Sprintf("fsid %08x%08x", uint32(fs.Fsid.Val[0]), uint32(fs.Fsid.Val[1])), nil
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return fmt.Sprintf("device %x", st.Dev), nil
}
