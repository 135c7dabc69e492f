package supervise

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"berth/gpu/host/procfile"
)

// noMounts refuses a folder in which something is mounted. The device number alone would not tell: a
// bind mount has that of where its files really are.
func noMounts(dir string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil // no /proc, no mounts of ours; devices are still compared
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	for _, m := range procfile.Mounts(b) {
		if strings.HasPrefix(m.Point, dir+"/") {
			return fmt.Errorf("%s is a mount point: unmount it first; nothing was deleted", m.Point)
		}
	}
	return nil
}
