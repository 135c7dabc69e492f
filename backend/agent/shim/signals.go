package shim

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/backend/agent/process"
	"berth/backend/transport/wire"
)

// ParseSignal is the signal of a name with or without SIG, in any case; ok is false for none.
func ParseSignal(name string) (_ syscall.Signal, ok bool) {
	s := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG"))
	return s, s != 0
}

// SignalName is the name of a signal without SIG: "KILL".
func SignalName(s syscall.Signal) string { return process.SignalName(s) }

// StatusOf is the exit status of a process that has ended.
func StatusOf(ps *os.ProcessState) wire.ExitStatus { return process.StatusOf(ps) }
