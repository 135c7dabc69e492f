package server

import "golang.org/x/sys/unix"

// MemoryBytes is the host's memory; a container's limit is below it where one is set, which later
// figures show.
func MemoryBytes() int64 {
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) != nil {
		return 0
	}
	return int64(si.Totalram) * int64(si.Unit)
}
