package proc

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Identity names one process for ever: its PID, when it started (in the kernel's own units since
// boot) and in which boot.
type Identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
	Boot  string `json:"boot_id"`
}

// ErrGone is returned where the process has ended.
var ErrGone = errors.New("the process has ended")

// Identify returns the identity of a living process, or ErrGone.
func Identify(pid int) (Identity, error) {
	st, err := ReadStat(pid)
	if err != nil {
		return Identity{}, err
	}
	if st.Zombie {
		return Identity{}, ErrGone
	}
	return Identity{PID: pid, Start: st.Start, Boot: BootID()}, nil
}

// Self is the identity of this process.
func Self() (Identity, error) { return Identify(os.Getpid()) }

// Alive reports whether the process still runs; a zombie does not.
func (id Identity) Alive() bool {
	if id.PID <= 0 || id.Boot != BootID() {
		return false
	}
	now, err := Identify(id.PID)
	return err == nil && now == id
}

// Signal signals the process unless its PID belongs to another one by now. It returns ErrGone where
// the process has ended.
func (id Identity) Signal(sig syscall.Signal) error {
	// On Linux the handle is a pidfd: what is checked after it was opened is what is signalled.
	p, err := os.FindProcess(id.PID)
	if err != nil {
		return ErrGone
	}
	defer p.Release()
	if !id.Alive() {
		return ErrGone
	}
	if err := p.Signal(sig); err != nil {
		if errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH) {
			return ErrGone
		}
		return fmt.Errorf("signalling process %d: %w", id.PID, err)
	}
	return nil
}
