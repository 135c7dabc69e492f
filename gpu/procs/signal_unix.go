//go:build linux || darwin

package procs

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

var signals = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT,
	"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
}

// ParseSignal knows "TERM" and "SIGTERM"; errors are ErrSignal.
func ParseSignal(name string) (syscall.Signal, error) {
	s, ok := signals[strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(name)), "SIG")]
	if !ok {
		return 0, fmt.Errorf("signal %q: %w: TERM, INT, KILL, HUP, QUIT, STOP, CONT, USR1 and USR2 can be sent", name, ErrSignal)
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
	h, err := open(pid)
	if err != nil {
		return fail(err)
	}
	defer h.close()
	v, err := look(pid)
	if err != nil {
		return fail(err)
	}
	if !startedAt.IsZero() && v.startedAt.Sub(startedAt).Abs() > startTolerance {
		return fail(fmt.Errorf("%w: its PID belongs to one that started at %s", ErrGone, v.startedAt.Format(time.RFC3339)))
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
	switch err := h.signal(sig); {
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
	for p, n := os.Getpid(), 0; p > 1 && n < 256; n++ {
		if p == pid {
			return true
		}
		parent, ok := parentOf(p)
		if !ok || parent == p {
			return false
		}
		p = parent
	}
	return false
}

// viewed is what is looked at before a process is signalled.
type viewed struct {
	startedAt       time.Time
	kernel          bool
	real, effective int
}
