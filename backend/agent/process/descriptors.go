package process

import "golang.org/x/sys/unix"

// closeEach keeps descriptors from what is started, one by one.
func closeEach(first int) {
	for fd := first; fd < 1024; fd++ {
		unix.CloseOnExec(fd)
	}
}
