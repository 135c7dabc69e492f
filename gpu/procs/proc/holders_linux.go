package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// Holders lists the processes, other than this one, that have one of the pipes open, in order. Those of other
// users can't be seen without root and are left out.
func Holders(pipes []os.FileInfo) []int {
	var names []string
	for _, fi := range pipes {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			names = append(names, fmt.Sprintf("pipe:[%d]", st.Ino)) // the name in /proc of what has no path
		}
	}
	all, err := All()
	if err != nil || len(names) == 0 {
		return nil
	}
	var out []int
	for _, st := range all {
		if st.PID != os.Getpid() && holds(st.PID, names) {
			out = append(out, st.PID)
		}
	}
	slices.Sort(out)
	return out
}

func holds(pid int, names []string) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	fds, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(fds, func(fd os.DirEntry) bool {
		to, err := os.Readlink(filepath.Join(dir, fd.Name()))
		return err == nil && slices.Contains(names, to)
	})
}
