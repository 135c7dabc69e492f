package process

import (
	"bytes"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

type stat struct {
	pid, ppid, pgid, session int
	start                    uint64 // microseconds since the epoch, as the kernel wrote it down
	tty                      bool
	zombie                   bool
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

func fromKinfo(k *unix.KinfoProc) stat {
	tv := k.Proc.P_starttime
	return stat{pid: int(k.Proc.P_pid), ppid: int(k.Eproc.Ppid), pgid: int(k.Eproc.Pgid),
		start: uint64(tv.Sec)*1e6 + uint64(tv.Usec), tty: k.Eproc.Tdev > 0, zombie: k.Proc.P_stat == zombieState}
}

func readStat(pid int) (stat, error) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(k.Proc.P_pid) != pid {
		return stat{}, ErrGone
	}
	st := fromKinfo(k)
	if sid, err := unix.Getsid(pid); err == nil {
		st.session = sid
	}
	return st, nil
}

func allStats() ([]stat, error) {
	ks, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, err
	}
	out := make([]stat, 0, len(ks))
	for i := range ks {
		st := fromKinfo(&ks[i])
		if sid, err := unix.Getsid(st.pid); err == nil {
			st.session = sid
		}
		out = append(out, st)
	}
	return out, nil
}

// hasEnv reads the variables that follow the arguments in kern.procargs2.
func hasEnv(pid int, kv string) bool {
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
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return ""
	}
	name, _, _ := bytes.Cut(k.Proc.P_comm[:], []byte{0})
	return string(name)
}

// StartedAt is when the process started.
func (id Identity) StartedAt() time.Time { return time.UnixMicro(int64(id.Start)) }
