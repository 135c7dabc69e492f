package procs

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

type handle struct{ pid int }

func open(pid int) (handle, error) { return handle{pid}, nil }

func (h handle) signal(sig syscall.Signal) error { return syscall.Kill(h.pid, sig) }

func (handle) close() {}

func look(pid int) (viewed, error) {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(p.Proc.P_pid) != pid {
		return viewed{}, ErrGone
	}
	return viewed{time.Unix(p.Proc.P_starttime.Unix()), false, int(p.Eproc.Pcred.P_ruid), int(p.Eproc.Ucred.Uid)}, nil
}

func parentOf(pid int) (int, bool) {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return 0, false
	}
	return int(p.Eproc.Ppid), true
}
