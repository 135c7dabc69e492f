package proc

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// Identity names one process for ever. Its JSON stands in the records of agents, shims and supervisors: names stay.
type Identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // when it started, in the kernel's own units
	Boot  string `json:"boot_id"`
	// Space names the name space that PID counts in; empty where this system has none, and in records of older builds.
	Space string `json:"pid_space,omitempty"`
}

// State is what can be said of the process that an Identity names.
type State int

// The answers of Look.
const (
	Unknown State = iota // it can't be told
	Same                 // the process still runs
	Gone                 // it has ended; another process may have its number
)

// String implements fmt.Stringer.
func (s State) String() string {
	switch s {
	case Same:
		return "runs"
	case Gone:
		return "has ended"
	}
	return "can't be told"
}

// ErrGone is returned where the process has ended, ErrUnknown where that can't be told.
var (
	ErrGone    = errors.New("the process has ended")
	ErrUnknown = errors.New("it can't be told whether the process still runs")
)

// unknownBoot stands for the boot's id in a container whose /proc does not tell it.
const unknownBoot = "unknown"

// Identify returns the identity of a living process, or ErrGone.
func Identify(pid int) (Identity, error) {
	st, err := ReadStat(pid)
	if err != nil {
		return Identity{}, err
	}
	if st.Zombie() {
		return Identity{}, ErrGone
	}
	return st.Identity(), nil
}

// Identity is that of the process that has this status, a zombie or not.
func (s Stat) Identity() Identity {
	return Identity{PID: s.PID, Start: s.Start, Boot: BootID(), Space: space()}
}

// Self is the identity of this process.
func Self() (Identity, error) { return Identify(os.Getpid()) }

// Look says whether the process still runs; a zombie does not. It never guesses: a number of another name space
// (the record was written in a container, say, and is read outside) means nothing here.
func (id Identity) Look() State {
	switch {
	case id.PID <= 0 || id.OfOtherBoot():
		return Gone
	case id.Space != "" && id.Space != space():
		return Unknown
	}
	st, err := ReadStat(id.PID)
	switch {
	case errors.Is(err, ErrGone):
		return Gone
	case err != nil:
		return Unknown
	case st.Start != id.Start || st.Zombie():
		return Gone
	case id.Boot == BootID(): // where no boot has an id, number and start must do
		return Same
	}
	return Unknown
}

// OfOtherBoot reports whether the process is known to be of another boot: it and all that it started have ended.
func (id Identity) OfOtherBoot() bool {
	boot := BootID()
	return boot != unknownBoot && id.Boot != unknownBoot && id.Boot != "" && id.Boot != boot
}

// Alive reports whether the process is known to run.
func (id Identity) Alive() bool { return id.Look() == Same }

// Is reports whether both name one process. It is == but for records of older builds, which lack the name space.
func (id Identity) Is(other Identity) bool {
	if id.Space == "" || other.Space == "" {
		id.Space, other.Space = "", ""
	}
	return id == other
}

// StartedAt is when the process started, by the clock as it is set now; zero where that can't be told.
func (id Identity) StartedAt() time.Time {
	age, ok := Age(id.Start)
	if !ok {
		return time.Time{}
	}
	return time.Now().Add(-age)
}

// Signal signals the process unless its PID belongs to another one by now: then it returns ErrGone.
func (id Identity) Signal(sig syscall.Signal) error {
	// On Linux the handle is a pidfd: what is checked after it was opened is what is signalled.
	p, err := os.FindProcess(id.PID)
	if err != nil {
		return ErrGone
	}
	defer p.Release()
	switch id.Look() {
	case Gone:
		return ErrGone
	case Unknown:
		return ErrUnknown
	}
	if err := p.Signal(sig); err != nil {
		if errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH) {
			return ErrGone
		}
		return fmt.Errorf("signalling process %d: %w", id.PID, err)
	}
	return nil
}
