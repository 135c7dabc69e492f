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

// Run is the life of a shim whose process has no terminal: it starts it, waits for it, writes how it ended, and waits
// for what it left behind. SIGTERM and SIGINT end the process. It returns the exit code of the shim.
func Run(spec Spec, say func(Ready)) int {
	sigs := CatchSignals()
	k, err := Keep(spec, spec.Given(), false, func(r Record) error {
		return atomicfile.Write(filepath.Join(spec.Dir, RecordName), r)
	})
	if err != nil {
		say(Ready{Error: err.Error(), Begun: errors.Is(err, ErrBegun)})
		return 1
	}
	say(Ready{PID: k.Record.Child.PID})
	ended, alone := make(chan Exit, 1), make(chan struct{})
	go func() {
		defer close(alone)
		k.reap(func(x Exit) { ended <- x })
	}()
	var ending chan struct{}
	for {
		select {
		case s := <-sigs:
			if (s == syscall.SIGTERM || s == syscall.SIGINT) && ending == nil {
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
			if k.Insist(x, sigs) != nil {
				return 1
			}
			ended = nil
		case <-alone:
			select {
			case x := <-ended:
				if k.Insist(x, sigs) != nil {
					return 1
				}
			default:
			}
			k.exit.alone()
			k.leave()
			return 0
		}
	}
}

// reap waits for all children of this process: the leader, and orphans that came to it. It returns when none is left.
func (k *Kept) reap(ended func(Exit)) {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil: // ECHILD
			return
		case pid == k.cmd.Process.Pid:
			x := Exit{ExitStatus: statusOf(ws), EndedAt: time.Now().UTC()}
			x.CPUSeconds, x.PeakMemory = k.used()
			ended(x)
		}
	}
}

// used is what the processes that have ended used: CPU in seconds, and memory in bytes.
func (k *Kept) used() (cpu float64, memory int64) {
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_CHILDREN, &ru) == nil {
		cpu = time.Duration(ru.Utime.Nano() + ru.Stime.Nano()).Seconds()
		memory = int64(ru.Maxrss) * rssUnit
	}
	c, m := k.Record.Cgroup.used()
	return max(cpu, c), max(memory, m)
}
