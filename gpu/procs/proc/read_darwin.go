package proc

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Reader reads processes.
type Reader struct{}

// NewReader makes a Reader; there is no folder of processes here.
func NewReader(string) *Reader { return &Reader{} }

// All gives each process that can be seen to each.
func (r *Reader) All(each func(Stat)) error {
	ks, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return err
	}
	for i := range ks {
		each(statOf(&ks[i]))
	}
	return nil
}

// One reads the status of one process, or returns ErrGone.
func (r *Reader) One(pid int) (Stat, error) {
	k, err := kinfo(pid)
	if err != nil {
		return Stat{}, err
	}
	return statOf(k), nil
}

// Opens can't tell here.
func (r *Reader) Opens(int, func(name string) bool) bool { return false }

// Owner reads who a process runs as, or returns ErrGone.
func (r *Reader) Owner(pid int) (Owner, error) {
	k, err := kinfo(pid)
	if err != nil {
		return Owner{}, err
	}
	return Owner{Group: pid, Real: int(k.Eproc.Pcred.P_ruid), Effective: int(k.Eproc.Ucred.Uid)}, nil
}

func kinfo(pid int) (*unix.KinfoProc, error) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(k.Proc.P_pid) != pid {
		return nil, ErrGone
	}
	return k, nil
}

// states are the letters of SIDL, SRUN, SSLEEP, SSTOP and SZOMB of sys/proc.h.
const states = "?RRSTZ"

func statOf(k *unix.KinfoProc) Stat {
	tv := k.Proc.P_starttime
	name, _, _ := bytes.Cut(k.Proc.P_comm[:], []byte{0})
	s := Stat{PID: int(k.Proc.P_pid), PPID: int(k.Eproc.Ppid), Group: int(k.Eproc.Pgid),
		Comm: name, State: '?', TTY: k.Eproc.Tdev > 0,
		Start: uint64(tv.Sec)*1e6 + uint64(tv.Usec)} // microseconds since the epoch, as the kernel wrote it down
	if i := int(k.Proc.P_stat); i > 0 && i < len(states) {
		s.State = states[i]
	}
	if sid, err := unix.Getsid(s.PID); err == nil {
		s.Session = sid
	}
	return s
}

// ReadStat reads the status of one process, or returns ErrGone.
func ReadStat(pid int) (Stat, error) {
	s, err := NewReader("").One(pid)
	s.Comm = nil
	return s, err
}

// Age is how long ago a process of that Start began.
func Age(start uint64) (time.Duration, bool) {
	return max(time.Since(time.UnixMicro(int64(start))), 0), true
}

// BootID identifies this boot of the host.
var BootID = sync.OnceValue(func() string {
	s, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return unknownBoot
	}
	return s
})

// space is the same for all: there are no name spaces here.
func space() string { return "" }

// Foreign reports that all processes are of one name space.
func Foreign(string) bool { return false }

var errUnsaid = errors.New("this system does not tell")

// Args would be the arguments of a process.
func Args(int) ([]string, error) { return nil, errUnsaid }

// Environ would be the environment that a process was started with.
func Environ(int) ([]string, error) { return nil, errUnsaid }

// Exe would be the path of the program that a process runs.
func Exe(int) (string, error) { return "", errUnsaid }

// Cgroups is not to be had.
func Cgroups(int) ([]byte, error) { return nil, errUnsaid }

// HasEnv reads the variables that follow the arguments in kern.procargs2.
func HasEnv(pid int, kv string) bool {
	b, err := unix.SysctlRaw("kern.procargs2", pid)
	return err == nil && slices.Contains(strings.Split(string(b), "\x00"), kv)
}

// CommandOf returns the command of a process for people, or "".
func CommandOf(pid int) string {
	s, _ := NewReader("").One(pid)
	return string(s.Comm)
}

// Running lists nothing: this system does not say what a process runs.
func Running(os.FileInfo) []int { return nil }

// Holders lists nothing: this system does not say who has a pipe open.
func Holders([]os.FileInfo) []int { return nil }

// Network can't be told here.
func Network() string { return "" }
