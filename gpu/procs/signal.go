package procs

import (
	"errors"
	"time"
)

// Why a signal was not sent, for errors.Is.
var (
	// ErrGone means that the process has ended, or that its PID is another process's by now.
	ErrGone = errors.New("the process has ended")
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
