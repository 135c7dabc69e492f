package engine

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	job "berth/backend/agent/container"
)

// told hands on to the container what this program is told by signals. Before the container is started, what would end
// it ends the way there.
type told struct {
	sigs chan os.Signal

	mu      sync.Mutex
	started bool           // from here on the container is told
	ended   syscall.Signal // that came before; 0: none
	end     func()         // called with it
	waiting []syscall.Signal
	toEnd   bool          // one of those that came since ends a program
	more    chan struct{} // capacity 1
}

// hear begins to take signals. end is called, once, for one that ends the run before its container is started.
func hear(end func()) *told {
	t := &told{sigs: make(chan os.Signal, 64), end: end, more: make(chan struct{}, 1)}
	signal.Notify(t.sigs)
	go func() { // it ends with the program
		for s := range t.sigs {
			if sig, ok := s.(syscall.Signal); ok && !own(sig) {
				t.take(sig)
			}
		}
	}()
	return t
}

// own reports a signal that is of this process, or of Go's runtime.
func own(s syscall.Signal) bool {
	switch s {
	case syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGWINCH:
		return true
	}
	return false
}

func ends(s syscall.Signal) bool {
	switch s {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, job.Kill:
		return true
	}
	return false
}

func (t *told) take(s syscall.Signal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.started && ends(s) {
		if t.ended == 0 {
			t.ended = s
			t.end()
		}
		return
	}
	t.waiting, t.toEnd = append(t.waiting, s), t.toEnd || ends(s)
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// start says that the container is about to be started; false: the run was ended before.
func (t *told) start() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.started = t.ended == 0
	return t.started
}

// leaves reports that the run was told to end: the instance may be about to go, with all that runs on it.
func (t *told) leaves() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.toEnd || t.ended != 0
}

// by is the name of the signal that ended the run before its container was started; "": none did.
func (t *told) by() (name string, code int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.ended {
	case 0:
		return "", 0
	case job.Kill:
		return "KILL", 128 + 9
	}
	return unix.SignalName(t.ended)[len("SIG"):], 128 + int(t.ended)
}

// againAfter is when an engine is asked again that could not be reached.
const againAfter = time.Second

// pass tells the container what this program is told, until ctx ends. What an engine does not take for now is said
// again.
func (t *told) pass(ctx context.Context, e *engine, name string) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.more:
		}
		for {
			t.mu.Lock()
			if len(t.waiting) == 0 {
				t.mu.Unlock()
				break
			}
			s := t.waiting[0]
			t.mu.Unlock()
			for tries := 0; !tell(ctx, e, name, s) && (s == job.Kill || tries < 60); tries++ {
				select {
				case <-ctx.Done():
					return
				case <-time.After(againAfter):
				}
			}
			t.mu.Lock()
			t.waiting = t.waiting[1:]
			t.mu.Unlock()
		}
	}
}

// tell tells the container one thing. False: it is to be said again.
func tell(ctx context.Context, e *engine, name string, s syscall.Signal) bool {
	var err error
	switch s {
	case job.Pause:
		_, err = e.ContainerPause(ctx, name, client.ContainerPauseOptions{})
	case job.Go:
		_, err = e.ContainerUnpause(ctx, name, client.ContainerUnpauseOptions{})
	case job.Kill:
		if _, err = e.ContainerKill(ctx, name, client.ContainerKillOptions{Signal: "KILL"}); err != nil {
			// Podman kills none that is paused.
			if _, uerr := e.ContainerUnpause(ctx, name, client.ContainerUnpauseOptions{}); uerr == nil {
				_, err = e.ContainerKill(ctx, name, client.ContainerKillOptions{Signal: "KILL"})
			}
		}
	default:
		_, err = e.ContainerKill(ctx, name, client.ContainerKillOptions{Signal: unix.SignalName(s)})
	}
	return err == nil || errdefs.IsNotFound(err) || s != job.Kill && !client.IsErrConnectionFailed(err)
}
