package root

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"syscall"
	"time"

	"berth/backend/api"
	"berth/gpu/procs"
)

// maxTargets is how many processes one call signals.
const maxTargets = 256

// Target is a process: its PID alone may be another's by the time that a signal is sent.
type Target struct {
	PID       int
	StartedAt time.Time
}

// parseSignal reads SIGNAL PID STARTED [PID STARTED …].
func parseSignal(args []string) (action, error) {
	if len(args) < 3 || len(args)%2 != 1 || len(args) > 1+2*maxTargets {
		return nil, wrong("signal takes a signal, and a PID and its start for each of 1 to %d processes", maxTargets)
	}
	if strings.Trim(args[0], "ABCDEFGHIJKLMNOPQRSTUVWXYZ12") != "" || strings.HasPrefix(args[0], "SIG") {
		return nil, wrong("%.20q is no name of a signal, such as TERM", args[0])
	}
	sig, err := procs.ParseSignal(args[0])
	if err != nil {
		return nil, SignalError(err)
	}
	var targets []Target
	for i := 1; i < len(args); i += 2 {
		pid, err := number(args[i], 1, 1<<30)
		if err != nil {
			return nil, wrong("%.20q is no PID", args[i])
		}
		if pid == 1 {
			return nil, SignalError(procs.ErrInit)
		}
		started, err := time.Parse(time.RFC3339Nano, args[i+1])
		if err != nil || started.Unix() <= 0 {
			return nil, wrong("%.40q is not when a process started, in RFC 3339", args[i+1])
		}
		targets = append(targets, Target{pid, started})
	}
	return func(context.Context, io.Writer) error { return signalAll(sig, targets) }, nil
}

// signalAll signals processes; of several, those that have ended meanwhile are no error.
func signalAll(sig syscall.Signal, targets []Target) error {
	var failed error
	for _, t := range targets {
		err := procs.Signal(t.PID, t.StartedAt, sig, true)
		if err != nil && (len(targets) == 1 || !errors.Is(err, procs.ErrGone)) && failed == nil {
			failed = SignalError(err)
		}
	}
	return failed
}

// SignalError gives an error of procs.Signal its code.
func SignalError(err error) error {
	code := api.CodeFailed
	switch {
	case errors.As(err, new(*api.Error)):
		return err
	case errors.Is(err, procs.ErrGone):
		code = api.CodeNotFound
	case errors.Is(err, procs.ErrSignal):
		code = api.CodeUsage
	case errors.Is(err, procs.ErrOtherUser):
		code = api.CodeRefused
	case errors.Is(err, procs.ErrInit), errors.Is(err, procs.ErrKernel), errors.Is(err, procs.ErrOwn),
		errors.Is(err, procs.ErrPermission):
		code = api.CodeForbidden
	}
	return api.Errorf(code, "%w", err)
}

// number reads a number from least to most, written as strconv.Itoa writes it.
func number(s string, least, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(n) != s || n < least || n > most {
		return 0, strconv.ErrSyntax
	}
	return n, nil
}

// Signal signals processes as root. signal is a name, such as "TERM".
func (c Caller) Signal(ctx context.Context, signal string, targets ...Target) error {
	for len(targets) > 0 {
		n := min(len(targets), maxTargets)
		args := []string{signal}
		for _, t := range targets[:n] {
			args = append(args, strconv.Itoa(t.PID), t.StartedAt.UTC().Format(time.RFC3339Nano))
		}
		what := "signalling process " + args[1]
		if len(targets) > 1 {
			what = "signalling " + strconv.Itoa(len(targets)) + " processes"
		}
		if _, err := c.Run(ctx, what, "signal", args...); err != nil {
			return err
		}
		targets = targets[n:]
	}
	return nil
}
