package supervise

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"berth/backend/agent/process"
	"berth/backend/base/atomicfile"
	"berth/backend/base/flock"
	"berth/gpu/procs/proc"
)

const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
	// healthy is how long an agent must have lived for its end to count as the first one.
	healthy = 30 * time.Second
	// lockLimit is how long a new supervisor waits for the last one to be gone.
	lockLimit = 5 * time.Second
)

// Main is `berth agent parent DIR`. It returns the exit code.
func Main(args []string) int {
	// The kernel's death signal follows the thread that started the agent: stay on it.
	runtime.LockOSThread()
	debug.SetGCPercent(30)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ready := os.NewFile(3, "ready")
	finish := len(args) == 2 && args[1] == finishWord
	if len(args) != 1 && !finish || ready == nil {
		fmt.Fprintln(os.Stderr, "berth agent parent DIR [finish]: only the local backend starts this")
		return 2
	}
	say := func(s string) {
		_, _ = ready.WriteString(s) // whoever asked may be gone: the work goes on
		_ = ready.Close()
	}
	s, err := begin(Dir(args[0]), finish, log)
	switch {
	case errors.Is(err, errSupervised):
		say(readyLine)
		return 0
	case err != nil:
		say("the supervisor can't begin: " + err.Error() + "\n")
		log.Error("the supervisor can't begin", "err", err)
		return 1
	}
	say(readyLine)
	s.run()
	return 0
}

// errSupervised is returned where there is nothing to do for a new supervisor.
var errSupervised = errors.New("another supervisor is in charge, or has finished")

// finishWord tells a supervisor to carry out the request that it finds, and never to run the agent.
const finishWord = "finish"

// supervisor is a running one. All of it belongs to the main goroutine.
type supervisor struct {
	dir     Dir
	conf    Config
	log     *slog.Logger
	lock    *os.File
	status  Status
	sigs    chan os.Signal
	agents  map[int]bool // agents that are our children
	current int          // the PID of the one in charge; 0: none
	born    time.Time
	backoff time.Duration
	again   <-chan time.Time // when the agent is to be started again
}

func begin(d Dir, finish bool, log *slog.Logger) (*supervisor, error) {
	s := &supervisor{dir: d, log: log, sigs: make(chan os.Signal, 64), agents: map[int]bool{}, backoff: firstBackoff}
	signal.Notify(s.sigs, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGCHLD,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE)
	var err error
	if s.conf, err = d.Config(); err != nil {
		return nil, err
	}
	if err := s.takeLock(); err != nil {
		return nil, err
	}
	if _, ok, err := d.Request(); finish && !ok && err == nil {
		return nil, errSupervised // the last supervisor has just finished it
	}
	if s.status.Identity, err = proc.Self(); err != nil {
		return nil, err
	}
	s.endRivals()
	// An earlier supervisor that was killed left its group behind, with processes in it.
	if s.status.Cgroup, err = process.NewCgroup(groupName(s.conf.ID), s.conf.Group); err != nil {
		log.Info("processes are found by descent and mark, not by control group", "why", err)
	}
	s.status.Group = "descent and mark"
	if c := s.status.Cgroup; c != nil {
		s.status.Group = "control group " + c.Path
	}
	if err := process.BecomeSubreaper(); err != nil {
		log.Warn("orphaned processes are found by their mark only", "why", err)
	}
	return s, atomicfile.Write(d.path("supervisor.json"), s.status)
}

func groupName(id string) string { return fmt.Sprintf("berth-%d-%s", os.Getuid(), id) }

func (s *supervisor) takeLock() error {
	for deadline := time.Now().Add(lockLimit); ; time.Sleep(5 * time.Millisecond) {
		f, err := flock.Open(s.dir.path("lock"))
		if err == nil {
			s.lock = f
			return nil
		}
		if st, ok, _ := s.dir.Status(); ok && st.Alive() {
			return errSupervised
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// run supervises until a request has been carried out.
func (s *supervisor) run() {
	if s.carryOut() {
		return
	}
	s.startAgent(false)
	for {
		select {
		case sig := <-s.sigs:
			switch sig {
			case syscall.SIGCHLD:
				s.reap()
			case syscall.SIGTERM:
				if s.carryOut() {
					return
				}
			case syscall.SIGUSR2:
				s.upgrade()
			}
		case <-s.again:
			s.again = nil
			s.startAgent(false)
		}
	}
}

// startAgent starts the agent inside the instance's group. With takeover, the one that runs hands
// over to it.
func (s *supervisor) startAgent(takeover bool) {
	argv := append([]string{}, s.conf.Agent...)
	if takeover {
		argv = append(argv, "--takeover")
	}
	rotate(s.conf.AgentLog)
	pid := 0
	log, err := os.OpenFile(s.conf.AgentLog, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		defer log.Close()
		var null *os.File
		if null, err = os.Open(os.DevNull); err == nil {
			defer null.Close()
			err = s.status.Cgroup.Start(func() error {
				env := append(outside(os.Environ()), MarkVariable+"="+s.conf.ID)
				p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{Dir: "/", Env: env, Files: []*os.File{null, log, log},
					Sys: childAttr()})
				if err == nil {
					pid = p.Pid
					_ = p.Release() // reap waits for all children at once
				}
				return err
			})
		}
	}
	if pid != 0 {
		s.agents[pid], s.current, s.born = true, pid, time.Now()
		s.log.Info("the agent was started", "pid", pid, "program", argv[0])
	}
	if err != nil {
		s.log.Error("starting the agent failed", "program", argv[0], "err", err)
		if pid == 0 {
			s.later()
		}
	}
}

// later starts the agent again after a pause that doubles each time.
func (s *supervisor) later() {
	s.again = time.After(s.backoff)
	s.backoff = min(2*s.backoff, maxBackoff)
}

// upgrade runs the agent of a new configuration beside the one that runs, which hands over to it.
func (s *supervisor) upgrade() {
	c, err := s.dir.Config()
	if err != nil {
		s.log.Error("the new configuration can't be read", "err", err)
		return
	}
	s.conf = c
	s.startAgent(s.current != 0)
}

// reap waits for every child that has ended: agents, and what was orphaned inside the instance.
func (s *supervisor) reap() {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if !s.agents[pid] {
			continue
		}
		delete(s.agents, pid)
		if pid != s.current {
			continue // it had handed over
		}
		s.log.Warn("the agent ended", "pid", pid, "code", ws.ExitStatus(), "signal", ws.Signal())
		s.current = 0
		for other := range s.agents {
			s.current = other // a newer one could not take over
		}
		if s.current == 0 {
			if time.Since(s.born) > healthy {
				s.backoff = firstBackoff
			}
			s.later()
		}
	}
}

const maxLog = 1 << 20

func rotate(path string) {
	if fi, err := os.Stat(path); err == nil && fi.Size() > maxLog {
		_ = os.Rename(path, path+".1")
	}
}
