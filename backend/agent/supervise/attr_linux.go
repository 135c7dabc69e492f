package supervise

import "syscall"

// childAttr lets the agent end with its supervisor: a new supervisor starts a new one. What the
// agent supervises goes on in either case.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
}
