//go:build front

package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// memoryFile returns a file without a name, which goes with this process and those that it becomes.
func memoryFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("berth", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 any can be run
		fd, err = unix.MemfdCreate("berth", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "berth"), nil
}
