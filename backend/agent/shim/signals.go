package shim

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// SignalName is the name of a signal without SIG: "KILL".
func SignalName(s syscall.Signal) string { return strings.TrimPrefix(unix.SignalName(s), "SIG") }

// ParseSignal is the signal of a name with or without SIG, in any case; ok is false for none.
func ParseSignal(name string) (_ syscall.Signal, ok bool) {
	s := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG"))
	return s, s != 0
}
