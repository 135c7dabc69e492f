package login

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend/agent/process"
	"berth/gpu/procs/proc"
)

// end ends what is left of the session: gently, since start-up files may hold a lock, as pyenv's do, or write a file.
func (w *watched) end(ctx context.Context, answered bool) {
	set := process.Set{Session: w.pid}
	ctx, cancel := context.WithTimeout(ctx, leftLimit)
	defer cancel()
	for pause := time.Millisecond; answered; pause = min(2*pause, time.Second) {
		if empty, err := set.Empty(); empty || err != nil {
			break
		}
		select {
		case <-time.After(pause):
			continue
		case <-ctx.Done():
		}
		break
	}
	_, _ = set.End(context.Background(), endGrace, nil)
}

// follow is a shell that start-up files put in place of the one that was asked.
type follow struct {
	path string
	argv []string
	env  []string
}

// watched is a shell that runs its start-up files, and the terminal that it runs on (slave: nil where it
// has none).
type watched struct {
	q             question
	master, slave *os.File
	pid           int
	raw           time.Time // since when somebody waits for single keys
	asked         int       // how often such a one was told to end
}

// wait returns once the environment was printed, the shell has ended, or nothing good can come any more.
func (w *watched) wait(ctx context.Context, found, ended <-chan struct{}) (*follow, error) {
	began := time.Now()
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		select {
		case <-found:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ended:
			ended = nil // its output only: it may still do something by itself
		case <-t.C:
			if _, err := proc.Identify(w.pid); err != nil {
				return nil, nil
			}
			if w.slave == nil || time.Since(began) < lookFrom {
				continue
			}
			if next, err := w.look(); next != nil || err != nil {
				return next, err
			}
		}
	}
}

// look sees to a shell whose start-up files wait for somebody, or have started another program.
func (w *watched) look() (*follow, error) {
	argv, replaced := w.replaced()
	if replaced {
		if next := w.follow(argv); next != nil {
			return next, nil
		}
	}
	canonical, front := w.terminal()
	if canonical {
		w.raw = time.Time{}
		if !replaced { // another program might hand on what is typed to a shell that somebody works in
			w.typeEnd()
		}
		return nil, nil
	}
	members, err := process.Set{Session: w.pid}.Members()
	if err == nil && len(members) == 1 && !replaced {
		w.typeEnd() // the shell itself asks for a key
		return nil, nil
	}
	switch {
	case w.raw.IsZero():
		w.raw = time.Now()
	case time.Since(w.raw) < keysLimit:
	case replaced:
		return nil, fmt.Errorf("its start-up files replaced it by %q", argv[0])
	default:
		w.raw = time.Time{}
		sig := asking[min(w.asked, len(asking)-1)]
		w.asked++
		for _, p := range members {
			if g, err := syscall.Getpgid(p.PID); err == nil && g == front && p.PID != w.pid {
				_ = p.Signal(sig)
			}
		}
	}
	return nil, nil
}

// asking are the signals for who waits for keys: first as if its terminal was closed, after which the start-up files go
// on. Under nohup that one is ignored.
var asking = []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGKILL}

// replaced reports whether the shell's process has become another program, by which the command is lost.
func (w *watched) replaced() (argv []string, replaced bool) {
	argv, err := proc.Args(w.pid)
	if err != nil || len(argv) == 0 || strings.Contains(strings.Join(argv, "\x00"), w.q.mark) {
		return nil, false // or this system does not tell
	}
	return argv, true
}

var knownShells = []string{"bash", "zsh", "fish", "dash", "ash", "ksh", "ksh93", "mksh", "sh", "tcsh", "csh"}

// follow says how to ask the shell in place of the first one, with the environment that it was started
// with. nil: it is no shell, or one that runs a script.
func (w *watched) follow(argv []string) *follow {
	path, err1 := proc.Exe(w.pid)
	env, err2 := proc.Environ(w.pid)
	name := strings.TrimPrefix(filepath.Base(argv[0]), "-")
	if err1 != nil || err2 != nil || len(env) == 0 || !slices.Contains(knownShells, name) {
		return nil
	}
	f := &follow{path: path, argv: []string{argv[0], "-i"}, env: env}
	for _, a := range argv[1:] {
		if !strings.HasPrefix(a, "-") || strings.HasPrefix(a, "-c") {
			return nil
		}
		f.argv = append(f.argv, a)
	}
	return f
}

// terminal reports whether the terminal gives whole lines to its reader, as it does unless a program wants
// single keys, and which process group is in front.
func (w *watched) terminal() (canonical bool, front int) {
	c, err := w.slave.SyscallConn()
	if err != nil {
		return false, 0
	}
	_ = c.Control(func(fd uintptr) {
		t, err := unix.IoctlGetTermios(int(fd), getTermios)
		canonical = err == nil && t.Lflag&unix.ICANON != 0
	})
	if c, err = w.master.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { front, _ = unix.IoctlGetInt(int(fd), unix.TIOCGPGRP) })
	}
	return canonical, front
}

// typeEnd types ctrl-D, the end of input, unless one waits to be read: start-up files that ask something
// get no answer, and go on.
func (w *watched) typeEnd() {
	c, err := w.slave.SyscallConn()
	if err != nil {
		return
	}
	waits := false
	_ = c.Control(func(fd uintptr) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		waits = err != nil || n > 0
	})
	if !waits {
		_, _ = w.master.Write([]byte{4})
	}
}
