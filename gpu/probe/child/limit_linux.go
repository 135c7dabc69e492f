package child

import "syscall"

// maxMemory is what the process may have for data, in bytes. It needs a fiftieth; a library that makes it ask
// for more and more ends the process, not the host.
const maxMemory = 1 << 30

func limitMemory() {
	limit := syscall.Rlimit{Cur: maxMemory, Max: maxMemory}
	var now syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_DATA, &now); err != nil || now.Max < maxMemory {
		return
	}
	_ = syscall.Setrlimit(syscall.RLIMIT_DATA, &limit) // a kernel that refuses leaves things as they were
}
