package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend/agent/process"
	"berth/backend/agent/root"
	"berth/backend/base/atomicfile"
	"berth/backend/base/flock"
	"berth/gpu/procs/proc"
)

const (
	// checkLimit is how long a check may take; then it counts as not passed.
	checkLimit = 2 * time.Minute
	// maxLog is when a step's log is shortened to its last keptLog bytes.
	maxLog  = 64 << 20
	keptLog = 64 << 10
)

// Main is `berth agent setup-step FOLDER STEP ATTEMPT`, the process around a step. It says on standard
// error why the step could not begin; all else stands in the folder.
func Main(args []string) int {
	if len(args) != 3 {
		fmt.Fprintln(os.Stderr, "only the agent starts this")
		return 2
	}
	step, err1 := strconv.Atoi(args[1])
	attempt, err2 := strconv.Atoi(args[2])
	if err := errors.Join(err1, err2); err != nil || step < 0 || attempt < 1 {
		fmt.Fprintln(os.Stderr, "only the agent starts this")
		return 2
	}
	r := &runner{dir: args[0], step: step, attempt: attempt}
	if err := r.begin(); err != nil {
		if errors.Is(err, errBegun) {
			return 0
		}
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer r.code.Close()
	res := r.run()
	res.EndedAt = time.Now().UTC()
	for writeResult(r.code, res) != nil { // its blocks are there: what else fails may pass
		time.Sleep(time.Second)
	}
	return 0
}

// errBegun says that another runner has this attempt.
var errBegun = errors.New("the attempt has begun already")

type runner struct {
	dir           string
	step, attempt int
	spec          spec
	lock, code    *os.File
	log           *os.File
	sigs          chan os.Signal
}

func (r *runner) path(ext string) string { return stepFile(r.dir, r.step, r.attempt, ext) }

// begin makes ready all that could fail, and last says durably that the attempt has begun.
func (r *runner) begin() error {
	if err := atomicfile.Read(r.path("json"), &r.spec); err != nil {
		return err
	}
	var err error
	if r.lock, err = os.OpenFile(stepFile(r.dir, r.step, 0, "lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if err := flock.Try(r.lock); errors.Is(err, flock.ErrHeld) {
		return errBegun
	} else if err != nil {
		return err
	}
	if _, err := os.Stat(r.path("run")); err == nil {
		return errBegun
	}
	r.sigs = make(chan os.Signal, 4)
	signal.Notify(r.sigs, syscall.SIGTERM, syscall.SIGINT)
	// Taken, not ignored: what is ignored, the step would ignore too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGPIPE)
	adoptOrphans()
	if r.code, err = reserveResult(r.path("code")); err != nil {
		return err
	}
	if r.log, err = os.OpenFile(stepFile(r.dir, r.step, 0, "log"), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
		return err
	}
	before, err := r.log.Stat()
	if err != nil {
		return err
	}
	self, err := proc.Self()
	if err != nil {
		return err
	}
	self.Boot = r.spec.Boot
	return atomicfile.Write(r.path("run"), started{Identity: self, At: time.Now().UTC(), Log: before.Size()})
}

func (r *runner) run() result {
	if len(r.spec.Check) > 0 {
		res := r.command(r.spec.Check, nil, checkLimit)
		switch {
		case res.Why == whyEnded:
			return res
		case res.Err == "" && res.Why == "" && res.Signal == "" && res.Code == 0:
			return result{Skipped: true}
		}
	}
	return r.command(r.spec.Argv, r.log, time.Duration(r.spec.Seconds*float64(time.Second)))
}

// command runs a command to its end. What it leaves in the background goes on.
func (r *runner) command(argv []string, out *os.File, limit time.Duration) result {
	path, err := root.LookPath(argv[0], r.spec.Env)
	if err != nil {
		return result{Err: err.Error()}
	}
	cmd := &exec.Cmd{Path: path, Args: argv, Env: r.spec.Env, Dir: r.spec.Dir}
	if out != nil {
		cmd.Stdout, cmd.Stderr = out, out
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return result{Err: err.Error()}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t := time.NewTimer(limit)
	defer t.Stop()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	why := ""
	for why == "" {
		select {
		case <-ended:
			return resultOf(cmd.ProcessState)
		case <-r.sigs:
			why = whyEnded
		case <-t.C:
			why = whyLimit
		case <-look.C:
			shorten(r.log)
		}
	}
	set := process.Set{Root: os.Getpid(), Session: os.Getpid()}
	left := endAll(context.Background(), set, time.Duration(r.spec.Grace*float64(time.Second)), r.spec.Root)
	if left == 0 {
		<-ended
	}
	return result{Why: why, Left: left}
}

func resultOf(st *os.ProcessState) result {
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return result{Signal: "the signal " + unix.SignalName(ws.Signal())}
	}
	return result{Code: st.ExitCode()}
}

// shorten keeps the end of a log that has become too long: the step must not fill the disk by talking.
// What is written meanwhile may be lost; what comes after is not, since all write at the end.
func shorten(log *os.File) {
	fi, err := log.Stat()
	if err != nil || fi.Size() <= maxLog {
		return
	}
	b := make([]byte, keptLog)
	n, _ := log.ReadAt(b, fi.Size()-keptLog)
	if log.Truncate(0) != nil {
		return
	}
	_, _ = log.Write(append([]byte("[the log had grown beyond 64 MiB: its beginning is gone]\n"), b[:n]...))
}

// startRunner starts a runner in a session of its own, known to whoever ends all that belongs to an instance
// as what it runs is. The channel tells why it did not begin the step.
func startRunner(argv, env []string) (<-chan error, error) {
	var stderr bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = os.Environ()
	for _, kv := range env {
		if strings.HasPrefix(kv, "BERTH_INSTANCE_ID=") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Dir = "/"
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := make(chan error, 1)
	go func() { // ends with the runner, or with this process
		err := cmd.Wait()
		if s := lastLine(stderr.String()); err != nil && s != "" {
			err = errors.New(s)
		}
		c <- err
	}()
	return c, nil
}
