package paths

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// NetworkFS names the network file system that dir (or its nearest existing parent) lies on, or
// returns "".
func NetworkFS(dir string) string {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
	// Magic numbers of statfs(2) and linux/magic.h.
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC:
		return "NFS"
	case unix.SMB_SUPER_MAGIC, 0xff534d42, 0xfe534d42:
		return "SMB"
	case unix.FUSE_SUPER_MAGIC:
		return "FUSE"
	case 0x0bd00bd0:
		return "Lustre"
	case 0x47504653:
		return "GPFS"
	case unix.CEPH_SUPER_MAGIC:
		return "Ceph"
	case unix.AFS_SUPER_MAGIC:
		return "AFS"
	}
	return ""
}
