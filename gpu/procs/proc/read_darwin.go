package proc

import (
	"bytes"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Stat is what is used of a process's status.
type Stat struct {
	PID, PPID, Group, Session int
	Start                     uint64 // microseconds since the epoch, as the kernel wrote it down
	TTY                       bool
	Zombie                    bool
}

const zombieState = 5 // SZOMB of sys/proc.h

// BootID identifies this boot of the host.
var BootID = sync.OnceValue(func() string {
	s, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return "unknown"
	}
	return s
})

func fromKinfo(k *unix.KinfoProc) Stat {
	tv := k.Proc.P_starttime
	return Stat{PID: int(k.Proc.P_pid), PPID: int(k.Eproc.Ppid), Group: int(k.Eproc.Pgid),
		Start: uint64(tv.Sec)*1e6 + uint64(tv.Usec), TTY: k.Eproc.Tdev > 0, Zombie: k.Proc.P_stat == zombieState}
}

// ReadStat reads the status of one process, or returns ErrGone.
func ReadStat(pid int) (Stat, error) {
	k, err := unix.SysctlKinfoProc("kern.proc.PID", pid)
	if err != nil || int(k.Proc.P_pid) != pid {
		return Stat{}, ErrGone
	}
	st := fromKinfo(k)
	if sid, err := unix.Getsid(pid); err == nil {
		st.Session = sid
	}
	return st, nil
}

// All lists every process that can be seen.
func All() ([]Stat, error) {
	ks, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, err
	}
	out := make([]Stat, 0, len(ks))
	for i := range ks {
		st := fromKinfo(&ks[i])
		if sid, err := unix.Getsid(st.PID); err == nil {
			st.Session = sid
		}
		out = append(out, st)
	}
	return out, nil
}

// HasEnv reads the variables that follow the arguments in kern.procargs2.
func HasEnv(pid int, kv string) bool {
	b, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil {
		return false
	}
	for v := range bytes.SplitSeq(b, []byte{0}) {
		if string(v) == kv {
			return true
		}
	}
	return false
}

// CommandOf returns the command of a process for people, or "".
func CommandOf(pid int) string {
	k, err := unix.SysctlKinfoProc("kern.proc.PID", pid)
	if err != nil {
		return ""
	}
	name, _, _ := bytes.Cut(k.Proc.P_comm[:], []byte{0})
	return string(name)
}

// StartedAt is when the process started.
func (id Identity) StartedAt() time.Time { return time.UnixMicro(int64(id.Start)) }
