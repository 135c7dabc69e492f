package server

import "golang.org/x/sys/unix"

// MemoryBytes is the host's memory.
func MemoryBytes() int64 {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return int64(n)
}
