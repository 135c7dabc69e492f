package paths

import (
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Memory is this user's folder in the host's memory, where files have room when no disk has: below the first of
// /dev/shm, /run/user/UID and /tmp that is a tmpfs which this user may write to. "": there is none. It is not made.
func Memory() string {
	uid := strconv.Itoa(os.Getuid())
	for _, dir := range []string{"/dev/shm", "/run/user/" + uid, "/tmp"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && uint32(st.Type) == unix.TMPFS_MAGIC && unix.Access(dir, unix.W_OK) == nil {
			return filepath.Join(dir, "berth-"+uid)
		}
	}
	return ""
}
