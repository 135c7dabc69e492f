package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"berth/backend/agent/boot"
	"berth/backend/agent/part"
	"berth/backend/agent/server"
	"berth/backend/api"
	"berth/backend/base/flock"
	"berth/backend/base/paths"
	"berth/backend/base/version"
	"berth/gpu/procs/proc"
)

const (
	// startLimit is how long a new agent may take until it answers.
	startLimit = 20 * time.Second
	// othersLimit is how long others may take who start one at the same time.
	othersLimit = 3 * startLimit
	// callLimit bounds one call to an agent on this host.
	callLimit = 5 * time.Second
)

// askInfo asks the agent on a socket what it is.
func askInfo(ctx context.Context, socket string) (api.AgentInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	c := NewClient(socket)
	defer c.Close()
	return c.Info(ctx)
}

// Start makes sure that an agent of the options' state folder runs and answers, and returns what it
// says of itself. Ten at once start one. With replace, a running one is replaced if this build is
// newer; what it supervises goes on.
func Start(ctx context.Context, o Options, replace bool) (api.AgentInfo, error) {
	return start(ctx, o, replace, false)
}

// start is Start; with arrange it also arranges that the agent outlives logout and comes back after a
// reboot, where the host allows.
func start(ctx context.Context, o Options, replace, arrange bool) (api.AgentInfo, error) {
	if err := makeState(o); err != nil {
		return api.AgentInfo{}, fmt.Errorf("making the agent's folder: %w", err)
	}
	l, err := flock.OpenWithin(ctx, o.StartLockPath(), othersLimit)
	if err != nil {
		return api.AgentInfo{}, err
	}
	defer l.Close()
	if err := markUse(o); err != nil {
		return api.AgentInfo{}, fmt.Errorf("noting that the agent's program is in use: %w", err)
	}
	info, err := askInfo(ctx, o.Socket)
	if err == nil {
		running := version.Version{Number: info.Version, Built: info.Built}
		// The same program built again (go run does that) is later, but not newer.
		if replace && version.Current().Newer(running) && info.Hash != part.OwnHash() {
			return launch(ctx, o, info.PID, arrange)
		}
		if arrange {
			info.AfterReboot = arrangeBoot(ctx, o, "")
		}
		return info, nil
	}
	if errors.Is(err, &api.Error{Code: api.CodeForbidden}) {
		return info, err
	}
	return reviveOrLaunch(ctx, o, arrange)
}

// reviveOrLaunch gets an answer from an agent that was not reached: one that lives makes its socket
// again, one that is about to end (or to begin) is waited for, and where there is none, one is
// launched.
func reviveOrLaunch(ctx context.Context, o Options, arrange bool) (api.AgentInfo, error) {
	wctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	signalled := proc.Identity{}
	for {
		held, err := flock.Open(o.LockPath())
		if err == nil {
			_ = held.Close()
			return launch(ctx, o, 0, arrange)
		}
		if !errors.Is(err, flock.ErrHeld) {
			return api.AgentInfo{}, err
		}
		rec, err := server.ReadRecord(o)
		if err == nil && rec.Identity != signalled && rec.Signal(syscall.SIGUSR1) == nil {
			signalled = rec.Identity // it makes its socket again
		}
		info, err := askInfo(wctx, o.Socket)
		if err != nil && rec.Socket != "" && rec.Socket != o.Socket {
			// Whoever started it had another home, or gave another socket: what it says names its own.
			info, err = askInfo(wctx, rec.Socket)
		}
		if err == nil {
			return info, nil
		}
		cause := err
		select {
		case <-wctx.Done():
			return api.AgentInfo{}, fmt.Errorf("an agent (process %d) runs but does not answer: %w", rec.PID, cause)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// launch starts an agent from a content-addressed copy of this program and waits until it answers.
// It takes over from the process old, if that is not 0.
func launch(ctx context.Context, o Options, old int, arrange bool) (api.AgentInfo, error) {
	var none api.AgentInfo
	exe, err := os.Executable()
	if err != nil {
		return none, fmt.Errorf("finding this program: %w", err)
	}
	if exe, err = paths.CopyProgram(exe, o.BinDir(), filepath.Base(exe)); err != nil {
		return none, err
	}
	rotate(o.LogPath())
	log, err := os.OpenFile(o.LogPath(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return none, fmt.Errorf("opening the agent's log: %w", err)
	}
	defer log.Close()
	from, err := log.Stat()
	if err != nil {
		return none, err
	}
	sub := append([]string{"run"}, o.Args()...)
	if old != 0 {
		sub = append(sub, "--takeover")
	}
	argv := part.Command(exe, sub...)
	ended, err := detach(ctx, argv, log, arrange)
	if errors.Is(err, syscall.EACCES) {
		return none, fmt.Errorf("starting the agent %s: %w: the file system that it lies on may forbid programs (noexec); "+
			"give --state on one that does not", exe, err)
	}
	if err != nil {
		return none, fmt.Errorf("starting the agent %s: %w", exe, err)
	}
	info, err := waitAnswer(ctx, o.Socket, old, func() error {
		select {
		case err := <-ended:
			return fmt.Errorf("it ended at once (%v): %s", err, tailFrom(o.LogPath(), from.Size()))
		default:
			return nil
		}
	})
	if err != nil {
		return none, fmt.Errorf("starting the agent: %w", err)
	}
	if arrange {
		info.AfterReboot = arrangeBoot(ctx, o, exe)
	}
	return info, nil
}

// arrangeBoot arranges the agent's return after a reboot and says what came of it. Without exe, the
// running agent's program is meant.
func arrangeBoot(ctx context.Context, o Options, exe string) string {
	if exe == "" {
		rec, err := server.ReadRecord(o)
		if err != nil {
			return boot.AfterReboot(o)
		}
		exe = rec.Exe
	}
	rec, err := boot.Arrange(ctx, o, exe)
	if err != nil {
		return rec.Text + " (this could not be noted: " + err.Error() + ")"
	}
	return rec.Text
}

// detach starts a command line in a session of its own. Where the user has a service manager (and
// its use is wanted) it becomes a service there: systemd ends what belongs to a login session when
// that ends, on some hosts, and a session of its own does not escape that. ended tells of the end,
// if it is known.
func detach(ctx context.Context, argv []string, log *os.File, service bool) (ended <-chan error, err error) {
	if service && boot.StartService(ctx, argv, log.Name()) == nil {
		return nil, nil
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := make(chan error, 1)
	go func() { c <- cmd.Wait() }() // ends with the agent, or with this process
	return c, nil
}

// waitAnswer asks until an agent that is not the process old answers, alive says why not, or the
// limit is reached.
func waitAnswer(ctx context.Context, socket string, old int, alive func() error) (api.AgentInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		info, err := askInfo(ctx, socket)
		if err == nil && info.PID != old {
			return info, nil
		}
		if dead := alive(); dead != nil {
			return info, dead
		}
		select {
		case <-ctx.Done():
			return info, fmt.Errorf("no answer within %v: %w", startLimit, errors.Join(err, ctx.Err()))
		case <-time.After(wait):
		}
	}
}

// maxLog is when an agent's log is put aside, in bytes; one older one is kept.
const maxLog = 1 << 20

func rotate(path string) {
	if fi, err := os.Stat(path); err == nil && fi.Size() > maxLog {
		_ = os.Rename(path, path+".1")
	}
}

// tailFrom returns the last line that was written to a log after offset, for an error on one line.
func tailFrom(path string, offset int64) string {
	b, err := os.ReadFile(path)
	if err != nil || int64(len(b)) <= offset {
		return "its log says nothing"
	}
	lines := strings.Split(strings.TrimSpace(string(b[offset:])), "\n")
	return lines[len(lines)-1]
}
