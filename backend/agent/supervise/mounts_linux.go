package supervise

import (
	"bytes"
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
	for _, m := range mountPoints(b) {
		if strings.HasPrefix(m, dir+"/") {
			return fmt.Errorf("%s is a mount point: unmount it first; nothing was deleted", m)
		}
	}
	return nil
}

// mountPoints reads the mount points of mountinfo, where blanks are written as \040.
func mountPoints(b []byte) (out []string) {
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		f := bytes.Fields(line)
		if len(f) > 4 {
			out = append(out, procfile.Unescape(string(f[4])))
		}
	}
	return out
}
