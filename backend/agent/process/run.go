package process

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"berth/backend/base/atomicfile"
)

// endGrace is how long what a shim is told to end has until it is killed.
const endGrace = 2 * time.Second

// CatchSignals catches what would end a shim. Ignored they would stay ignored in what it starts.
func CatchSignals() chan os.Signal {
	c := make(chan os.Signal, 8)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	return c
}

// Told reports whether signals that were caught tell this process to end.
func Told(sigs <-chan os.Signal) bool {
	for {
		select {
		case s := <-sigs:
			if ends(s) {
				return true
			}
		default:
			return false
		}
	}
}

func ends(s os.Signal) bool { return s == syscall.SIGTERM || s == syscall.SIGINT }

// Run is a process without a terminal, in the life of its shim: it starts it with these descriptors, waits for it,
// writes how it ended, and waits for what it left behind; tell is told all that. SIGTERM and SIGINT end the process. It
// returns the exit code of the shim, and whether that may keep another process instead of ending: all of this one is
// gone, and stands on the disk.
func (h *Keeper) Run(spec Spec, files []*os.File, sigs <-chan os.Signal, tell func(Said)) (code int, again bool) {
	k, err := h.keep(spec, files, false, func(r Record) error {
		err := atomicfile.Write(filepath.Join(spec.Dir, RecordName), r)
		for _, dir := range spec.Names { // after the record, which brings most of it to the disk
			err = errors.Join(err, atomicfile.SyncDir(dir))
		}
		return err
	})
	if err != nil {
		tell(Said{Ready: Ready{Error: err.Error(), Begun: errors.Is(err, ErrBegun)}})
		return 1, false
	}
	tell(Said{Ready: Ready{PID: k.Record.Child.PID}, Record: &k.Record})
	ended, gone := make(chan Exit, 1), make(chan struct{})
	go func() {
		defer close(gone)
		k.reap(func(x Exit) { ended <- x })
	}()
	var ending chan struct{}
	alone := false
	settle := func(x Exit) bool {
		if k.Insist(x, sigs) != nil {
			return false
		}
		alone = x.Alone
		tell(Said{Exit: &x, Alone: alone})
		return true
	}
	for {
		select {
		case s := <-sigs:
			if ends(s) && ending == nil {
				ending = make(chan struct{})
				go func() {
					defer close(ending)
					k.End(context.Background(), endGrace) // with the last of them this process ends
				}()
			}
		case x := <-ended:
			if ending != nil {
				<-ending // the leader goes first, and what ignores the request last
			}
			if !settle(x) {
				return 1, false
			}
			ended = nil
		case <-gone:
			select {
			case x := <-ended:
				if !settle(x) {
					return 1, false
				}
			default:
			}
			k.leave()
			if !alone {
				if k.exit.alone() != nil {
					return 0, false // who looks would take those of another process for its own
				}
				tell(Said{Alone: true})
			}
			k.release()
			return 0, ending == nil && !spec.Once
		}
	}
}

// reap waits for all children of this process: the leader, and orphans that came to it. It returns when none is left.
func (k *Kept) reap(ended func(Exit)) {
	var cpu time.Duration // of those that have ended
	var memory int64
	wait := func(options int) (pid int, ws syscall.WaitStatus, err error) {
		var ru syscall.Rusage
		for {
			if pid, err = syscall.Wait4(-1, &ws, options, &ru); err != syscall.EINTR {
				break
			}
		}
		if err == nil && pid > 0 {
			cpu += time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
			memory = max(memory, int64(ru.Maxrss)*rssUnit)
		}
		return pid, ws, err
	}
	for {
		pid, ws, err := wait(0)
		if err != nil { // ECHILD
			return
		}
		if pid != k.leader.Pid {
			continue
		}
		x := Exit{ExitStatus: statusOf(ws), EndedAt: time.Now().UTC()}
		for pid > 0 && err == nil { // what came to this process when the leader ended, and has ended, too
			pid, _, err = wait(syscall.WNOHANG)
		}
		x.Alone = err != nil
		x.CPUSeconds, x.PeakMemory = k.used(cpu, memory)
		x.Killed = max(k.Record.Limit.Killed(), k.Record.Cgroup.killed())
		ended(x)
		if x.Alone {
			return
		}
	}
}

// used is what the processes that have ended used: CPU in seconds, and memory in bytes. The control group knows of all.
func (k *Kept) used(cpu time.Duration, memory int64) (float64, int64) {
	c, m := k.Record.Cgroup.used()
	if p := k.Record.Limit.peak(); p > 0 {
		return max(cpu.Seconds(), c), p // not more: what a process shares with others is not counted against its limit
	}
	return max(cpu.Seconds(), c), max(memory, m)
}
