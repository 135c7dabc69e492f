package procs

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/gpu/host/procfile"
)

type handle struct{ fd, pid int }

func open(pid int) (handle, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case err == nil:
		return handle{fd, pid}, nil
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT): // the latter two: a thread, no process
		return handle{}, ErrGone
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // before 5.3, or a strict container
		return handle{-1, pid}, nil
	}
	return handle{}, fmt.Errorf("opening it: %w", err)
}

func (h handle) signal(sig syscall.Signal) error {
	if h.fd < 0 {
		return unix.Kill(h.pid, sig)
	}
	return unix.PidfdSendSignal(h.fd, sig, nil, 0)
}

func (h handle) close() {
	if h.fd >= 0 {
		_ = unix.Close(h.fd)
	}
}

func look(pid int) (viewed, error) {
	f := false
	src := newSource(Options{Proc: "/proc", Foreign: &f}).(*procSource)
	st, ok := src.one(pid)
	if !ok {
		return viewed{}, ErrGone
	}
	var r procfile.Reader
	b, err := r.Read("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return viewed{}, ErrGone
	}
	s, ok := parseStatus(b)
	if !ok {
		return viewed{}, errors.New("its status can't be read")
	}
	if s.group != pid {
		return viewed{}, ErrGone // a thread
	}
	if st.state == 'Z' && st.threads <= 1 {
		return viewed{}, fmt.Errorf("%w: it is a zombie, its parent (PID %d) has to wait for it", ErrGone, st.ppid)
	}
	return viewed{time.Now().Add(-src.startedAgo(st.start)), st.kernel || pid == 2, s.real, s.effective}, nil
}

func parentOf(pid int) (int, bool) {
	f := false
	st, ok := newSource(Options{Proc: "/proc", Foreign: &f}).one(pid)
	return st.ppid, ok
}
