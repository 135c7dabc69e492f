package lease

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Freshen makes GPUs' files look as if they had just been written, so that those who remove old files leave them. It
// does what it can.
func (f *Folder) Freshen(uuids []string) {
	now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
	for _, uuid := range uuids {
		if validUUID(uuid) { // the write permission is enough for that, whoever made the file
			_ = unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(f.dir, uuid), now, unix.AT_SYMLINK_NOFOLLOW)
		}
	}
}
