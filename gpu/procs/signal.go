package procs

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"berth/gpu/procs/proc"
)

// Why a signal was not sent, for errors.Is.
var (
	// ErrGone means that the process has ended, or that its PID is another process's by now.
	ErrGone = proc.ErrGone
	// ErrInit means PID 1, without which the system stops.
	ErrInit = errors.New("PID 1 is the system itself")
	// ErrKernel means a thread of the kernel, which no signal reaches.
	ErrKernel = errors.New("it is a thread of the kernel")
	// ErrOwn means Berth's own agent, or a process that it runs under.
	ErrOwn = errors.New("it is or holds the agent of Berth")
	// ErrOtherUser means that it is another user's and that this was not asked for.
	ErrOtherUser = errors.New("it belongs to another user")
	// ErrPermission means that the kernel refused.
	ErrPermission = errors.New("this user may not signal it")
	// ErrSignal means that this signal is not one that is sent from here.
	ErrSignal = errors.New("no such signal")
)

// startTolerance is how far the two ways to tell when a process started may differ: the kernel counts ticks, and
// the wall clock may be set a little between two questions.
const startTolerance = 1500 * time.Millisecond

var signals = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "HUP": syscall.SIGHUP,
	"QUIT": syscall.SIGQUIT,
	"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
}

// ParseSignal knows "TERM" and "SIGTERM"; errors are ErrSignal.
func ParseSignal(name string) (syscall.Signal, error) {
	s, ok := signals[strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(name)), "SIG")]
	if !ok {
		const known = "TERM, INT, KILL, HUP, QUIT, STOP, CONT, USR1 and USR2"
		return 0, fmt.Errorf("signal %q: %w: %s can be sent", name, ErrSignal, known)
	}
	return s, nil
}

// Signal sends sig to the process that has this PID and started at startedAt, as a sample said; zero: whichever
// has it. Another user's is signalled only if other says so. It may be called from any goroutine. Errors are
// those of this package.
func Signal(pid int, startedAt time.Time, sig syscall.Signal, other bool) error {
	fail := func(err error) error { return fmt.Errorf("process %d was not signalled (%v): %w", pid, sig, err) }
	switch {
	case pid == 1:
		return fail(ErrInit)
	case pid <= 0:
		return fail(ErrGone)
	}
	// From here on the handle is of one process, whatever its number is given to later.
	h, err := os.FindProcess(pid)
	if err != nil {
		return fail(ErrGone)
	}
	defer h.Release()
	v, err := look(pid)
	if err != nil {
		return fail(err)
	}
	if !startedAt.IsZero() && v.startedAt.Sub(startedAt).Abs() > startTolerance {
		at := v.startedAt.Format(time.RFC3339)
		return fail(fmt.Errorf("%w: its PID belongs to one that started at %s", ErrGone, at))
	}
	if v.kernel {
		return fail(ErrKernel)
	}
	if own(pid) {
		return fail(ErrOwn)
	}
	me := os.Getuid()
	if (v.real != me || v.effective != me) && !other {
		return fail(ErrOtherUser)
	}
	switch err := h.Signal(sig); {
	case errors.Is(err, syscall.ESRCH), errors.Is(err, os.ErrProcessDone):
		return fail(ErrGone)
	case errors.Is(err, syscall.EPERM):
		return fail(ErrPermission)
	case err != nil:
		return fail(err)
	}
	return nil
}

// own reports whether pid is this process or one above it.
func own(pid int) bool {
	r := proc.NewReader("")
	for p, n := os.Getpid(), 0; p > 1 && n < 256; n++ {
		if p == pid {
			return true
		}
		st, err := r.One(p)
		if err != nil || st.PPID == p {
			return false
		}
		p = st.PPID
	}
	return false
}

// viewed is what is looked at before a process is signalled.
type viewed struct {
	startedAt       time.Time
	kernel          bool
	real, effective int
}

func look(pid int) (viewed, error) {
	st, err := proc.ReadStat(pid)
	if err != nil {
		return viewed{}, err
	}
	o, err := proc.NewReader("").Owner(pid)
	switch {
	case err != nil:
		return viewed{}, err
	case o.Group != pid:
		return viewed{}, ErrGone // a thread, no process
	case st.Zombie():
		return viewed{}, fmt.Errorf("%w: it is a zombie, its parent (PID %d) has to wait for it", ErrGone, st.PPID)
	}
	return viewed{st.Identity().StartedAt(), st.Kernel || kernelThreads && pid == 2, o.Real, o.Effective}, nil
}

// kernelThreads: the process with number 2 is that of the kernel's threads.
const kernelThreads = runtime.GOOS == "linux"
