package process

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"berth/gpu/procs/proc"
)

// SignalLeader signals a main process and, where that is a shell, its children: those work for it, and a shell hands
// nothing on. No deeper: workers of a program must not die before it has saved its work.
func SignalLeader(leader proc.Identity, sig syscall.Signal) error {
	targets := []proc.Identity{leader}
	if isShell(leader.PID) {
		all, err := proc.All()
		if err != nil {
			return err
		}
		for _, p := range all {
			if p.PPID == leader.PID && !p.Zombie() {
				targets = append(targets, p.Identity())
			}
		}
	}
	var errs []error
	for _, t := range targets {
		errs = append(errs, Signal(t, sig))
	}
	return errors.Join(errs...)
}

// Signal signals a process, unless it is gone.
func Signal(id proc.Identity, sig syscall.Signal) error {
	if err := id.Signal(sig); !errors.Is(err, proc.ErrGone) {
		return err
	}
	return nil
}

var shells = []string{"sh", "bash", "dash", "ash", "zsh", "ksh", "ksh93", "mksh", "yash", "fish", "tcsh", "csh"}

// isShell reports whether a process is a shell, by its program or, for one of many names, by its first argument.
func isShell(pid int) bool {
	exe, _ := proc.Exe(pid)
	if slices.Contains(shells, filepath.Base(exe)) {
		return true
	}
	args, err := proc.Args(pid)
	return err == nil && len(args) > 0 && strings.Contains(exe, "box") &&
		slices.Contains(shells, strings.TrimPrefix(filepath.Base(args[0]), "-"))
}
