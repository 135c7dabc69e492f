package process

import (
	"context"
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

// Run is the life of a shim whose process has no terminal: it starts it, waits for it and writes how it ended.
// SIGTERM and SIGINT end the process. It returns the exit code of the shim.
func Run(spec Spec, say func(Ready)) int {
	sigs := CatchSignals()
	k, err := Keep(spec, spec.Given(), false, func(r Record) error {
		return atomicfile.Write(filepath.Join(spec.Dir, RecordName), r)
	})
	if err != nil {
		say(Ready{Error: err.Error()})
		return 1
	}
	say(Ready{PID: k.Record.Child.PID})
	waited := make(chan Exit, 1)
	go func() { waited <- k.Wait() }()
	var ending chan struct{}
	for {
		select {
		case s := <-sigs:
			if (s == syscall.SIGTERM || s == syscall.SIGINT) && ending == nil {
				ending = make(chan struct{})
				go func() {
					defer close(ending)
					k.End(context.Background(), endGrace) // the leader's end ends this process
				}()
			}
		case x := <-waited:
			if ending != nil {
				<-ending // the leader goes first, and what ignores the request last
			}
			if k.Insist(x, sigs) != nil {
				return 1
			}
			return 0
		}
	}
}
