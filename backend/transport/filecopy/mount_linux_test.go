package filecopy

import "syscall"

func mountSmall(path string) error { return syscall.Mount("tmpfs", path, "tmpfs", 0, "size=4m") }
func unmount(path string)          { _ = syscall.Unmount(path, syscall.MNT_DETACH) } // the test ends
