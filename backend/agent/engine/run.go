package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	job "berth/backend/agent/container"
	"berth/backend/agent/process"
	"berth/backend/base/plaintext"
)

// The exit codes of what could not be started, as Docker's own program has them.
const (
	notStarted = 125
	notRun     = 126
	notFound   = 127
)

const (
	// engineWait is how long an engine may be away when a run begins: it may just be restarted.
	engineWait = 15 * time.Second
	// againMost is the longest pause between tries to reach an engine that has a container.
	againMost = 5 * time.Second
	// createdWait is how long a container that another one of this program has told to start may take.
	createdWait = 15 * time.Second
)

// life is the life of a run's container.
type life struct {
	spec     job.Spec
	command  []string
	self     []string // the arguments by which this program plays this
	env      []string // of the container
	out      *os.File // the job's log
	getenv   func(string) string
	told     *told
	progress job.Progress
	e        *engine
	usage    usage
}

// run is the life of a container to its end, which it writes down before the container is removed. It returns the
// container's exit code. Without an end in the run's folder the agent starts another one of this program.
func run(ctx context.Context, spec job.Spec, command, self []string) int {
	begin, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &life{spec: spec, command: command, self: self, env: job.Given(os.Environ()), out: os.Stdout, getenv: os.Getenv,
		told: hear(cancel), usage: usage{root: groupsAt}}
	// What this has inherited holds the run's GPUs, and is kept from what it starts: a helper of credentials may live
	// for long.
	process.CloseOnExec(3)
	res, known, err := job.ReadResult(spec.Dir)
	if err == nil {
		err = job.SayReady(spec.Dir)
	}
	if err != nil {
		return notStarted // the agent begins another one, in a while
	}
	if !known {
		if res, err = l.live(ctx, begin); err != nil {
			return notStarted
		}
		res.EndedAt = time.Now().UTC()
		res.Warnings = append(l.progress.Warnings, res.Warnings...)
		for pause := time.Second; ; pause = min(2*pause, 30*time.Second) { // a full disk, say
			if err = res.Write(spec.Dir); err == nil {
				break
			}
			if _, gone := os.Stat(spec.Dir); errors.Is(gone, os.ErrNotExist) {
				break
			}
			time.Sleep(pause)
		}
	}
	// What this has inherited holds the run's GPUs: with them the job ends when all of it has.
	if known || l.e == nil || len(spec.GPUs) > 0 || l.told.leaves() || l.removeLater() != nil {
		l.clear(ctx)
	}
	return res.Exit
}

// removeLater has the container removed by a process of its own: the job has ended, and engines take their time for it.
func (l *life) removeLater() error {
	args, err := job.Spec{Name: l.spec.Name, Host: l.e.host}.Args(job.WordRemove, nil)
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(exe, append(slices.Clone(l.self), args...)...)
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

// say writes a line into the job's log. There is none after the container's start.
func (l *life) say(format string, a ...any) {
	fmt.Fprintln(l.out, "berth:", plaintext.Text(fmt.Sprintf(format, a...)))
}

// live is a container's life to its end. begin ends earlier where the run is ended before its container is started.
func (l *life) live(ctx, begin context.Context) (job.Result, error) {
	var made bool
	var err error
	if l.progress, made, err = job.ReadProgress(l.spec.Dir); err != nil {
		return job.Result{}, err
	}
	if !made {
		res, over, err := l.make(begin)
		if over || err != nil {
			return res, err
		}
	} else {
		if l.e, err = l.again(begin, l.progress.Host); err != nil {
			return l.cut(), nil
		}
	}
	if res, over := l.start(ctx, begin, made); over {
		return res, nil
	}
	passing, stop := context.WithCancel(ctx)
	defer stop()
	l.told.start()
	go l.told.pass(passing, l.e, l.spec.Name)
	return l.follow(ctx)
}

// cut is the end of a run that was ended before its container was started.
func (l *life) cut() job.Result {
	name, code := l.told.by()
	return job.Result{Exit: code, Signal: name}
}

// failed is the end of a run whose container could not be started.
func (l *life) failed(err error) job.Result {
	if name, _ := l.told.by(); name != "" {
		return l.cut()
	}
	text := plaintext.Short(strings.TrimPrefix(err.Error(), "Error response from daemon: "), 1000)
	var p *problem
	if errors.As(err, &p) && p.hint != "" {
		text += " (" + p.hint + ")"
	}
	code := notStarted
	switch low := strings.ToLower(text); {
	case !l.progress.Started:
	case strings.Contains(low, "not found") || strings.Contains(low, "no such file"):
		code = notFound
	default:
		code = notRun
	}
	return job.Result{Exit: code, Failed: text}
}

// make finds the engine and the image, and makes the container.
func (l *life) make(ctx context.Context) (res job.Result, over bool, err error) {
	limit := time.Now().Add(engineWait)
	for {
		if l.e, err = find(ctx, l.spec.Host, l.getenv); err == nil {
			break
		}
		if ctx.Err() != nil || time.Now().After(limit) {
			return l.failed(err), true, nil
		}
		pause(ctx, time.Second)
	}
	if err := l.create(ctx); err != nil && !cutOff(err) {
		return l.failed(err), true, nil
	}
	return res, false, nil
}

// create makes the container, with its image where the engine does not have that.
func (l *life) create(ctx context.Context) error {
	for pulled := false; ; pulled = true {
		fi, err := l.out.Stat()
		if err != nil {
			return err
		}
		// What is in the log by now is not the container's.
		l.progress = job.Progress{Host: l.e.host, LogStart: fi.Size()}
		if err := l.progress.Write(l.spec.Dir); err != nil {
			return err
		}
		l.progress.Warnings, err = l.e.create(ctx, l.spec, l.command, l.env)
		if pulled || !noImage(err) {
			return err
		}
		err = l.e.ensure(ctx, l.spec.Image, l.spec.Retries, credentialFiles(l.getenv), l.say)
		if err != nil {
			return err
		}
	}
}

// noImage reports that an engine has no such image.
func noImage(err error) bool {
	return errdefs.IsNotFound(err) && strings.Contains(strings.ToLower(err.Error()), "image")
}

// cutOff reports an error after which it is not known what an engine has done.
func cutOff(err error) bool {
	if errors.As(err, new(*pullError)) {
		return false // nothing was made
	}
	return client.IsErrConnectionFailed(err) || errors.Is(err, context.Canceled) ||
		errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "EOF") ||
		strings.Contains(err.Error(), "connection reset") ||
		strings.Contains(err.Error(), "broken pipe")
}

// again connects to the engine that has the container, however long that takes.
func (l *life) again(ctx context.Context, host string) (*engine, error) {
	for wait := time.Second / 10; ; wait = min(2*wait, againMost) {
		e, err := connect(ctx, host)
		if err == nil {
			return e, nil
		}
		pause(ctx, wait)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// start starts the container, once. look: an earlier one of this program was here, and it may have been started, or not
// even be made. What was started is never started again.
func (l *life) start(ctx, begin context.Context, look bool) (res job.Result, over bool) {
	var since time.Time // it stands as made though it was told to start
	for wait := time.Second / 20; ; wait = min(2*wait, againMost) {
		if look {
			c, err := l.e.ContainerInspect(ctx, l.spec.Name, client.ContainerInspectOptions{})
			switch {
			case errdefs.IsNotFound(err) && l.progress.Started:
				return l.gone(), true
			case errdefs.IsNotFound(err):
				err = l.create(begin)
				if err != nil && begin.Err() != nil {
					return l.cut(), true
				}
				if err != nil && !cutOff(err) {
					return l.failed(err), true
				}
				pause(ctx, wait)
				continue
			case err != nil:
				pause(ctx, wait)
				continue
			case c.Container.State == nil || c.Container.State.Status != container.StateCreated:
				return res, false
			case l.progress.Started && since.IsZero():
				since = time.Now()
				fallthrough
			case l.progress.Started:
				if time.Since(since) > createdWait {
					return job.Result{Exit: notStarted, Lost: "it is not known whether its container was started: " +
						"whoever started it was killed just then"}, true
				}
				pause(ctx, wait)
				continue
			}
		}
		if !l.told.start() {
			return l.cut(), true
		}
		l.progress.Started = true
		if err := l.progress.Write(l.spec.Dir); err != nil {
			l.progress.Started = false
			pause(ctx, time.Second)
			continue
		}
		_, err := l.e.ContainerStart(ctx, l.spec.Name, client.ContainerStartOptions{})
		switch {
		case err == nil:
			return res, false
		case errdefs.IsNotFound(err) && strings.Contains(strings.ToLower(err.Error()), "no such container"):
			l.progress.Started = false // it was not even made: the engine was cut off before
			if err := l.progress.Write(l.spec.Dir); err != nil {
				pause(ctx, wait)
			}
		case !cutOff(err):
			return l.failed(err), true
		}
		look = true // it may have been started, or not
	}
}

func (l *life) gone() job.Result {
	return job.Result{Exit: notStarted, Lost: "its container " + l.spec.Name + " was removed, and with it its exit code"}
}

// follow copies what the container prints until it has ended, and says how.
func (l *life) follow(ctx context.Context) (res job.Result, err error) {
	log, err := outputFrom(l.out, l.progress.LogStart)
	if err != nil {
		return res, err
	}
	for wait := time.Second / 20; ; wait = min(2*wait, againMost) {
		err := l.await(ctx, log)
		if errdefs.IsNotFound(err) {
			return l.gone(), nil
		}
		if err == nil {
			res, err = l.ended(ctx, log)
		}
		if err == nil {
			if log.lost != nil {
				res.Warnings = append(res.Warnings, log.lost.Error())
			}
			return res, nil
		}
		pause(ctx, wait) // the engine is restarted, say: the container may go on meanwhile
	}
}

// await copies what the container prints as it does, and waits until it does not run. What the copy leaves out, where
// the engine ends it early, comes in the end.
func (l *life) await(ctx context.Context, log *output) error {
	copying, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for copying.Err() == nil {
			_ = log.copy(copying, l.e, l.spec.Name, true)
			pause(copying, againAfter)
		}
	}()
	defer func() { // who reads the log next begins where this one has ended
		stop()
		<-done
	}()
	if l.e.podman() {
		return l.e.awaitProcess(copying, l.spec.Name, &l.usage)
	}
	go func() { // it ends with copying, or the container
		_ = l.e.awaitProcess(copying, l.spec.Name, &l.usage) // what is not known is not said
	}()
	w := l.e.ContainerWait(copying, l.spec.Name, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case r := <-w.Result:
		if r.Error != nil && r.Error.Message != "" {
			return errors.New(r.Error.Message)
		}
		return nil
	case err := <-w.Error:
		return err
	}
}

// ended is how a container has ended. The rest of its log is copied.
func (l *life) ended(ctx context.Context, log *output) (res job.Result, err error) {
	c, err := l.e.ContainerInspect(ctx, l.spec.Name, client.ContainerInspectOptions{})
	if err != nil {
		return res, err
	}
	s := c.Container.State
	if s == nil || s.Running || s.Paused {
		return res, errors.New("it has not ended")
	}
	l.usage.mu.Lock()
	defer l.usage.mu.Unlock()
	res.Killed, res.PeakMemory, res.CPUSeconds = int(l.usage.killed), l.usage.peak, l.usage.used.Seconds()
	if s.OOMKilled {
		res.Killed = max(res.Killed, 1)
	}
	res.Exit = s.ExitCode
	return res, log.copy(ctx, l.e, l.spec.Name, false)
}

// clear removes the container, as far as there is one and it can be.
func (l *life) clear(ctx context.Context) {
	if p, made, err := job.ReadProgress(l.spec.Dir); made && err == nil {
		_ = remove(ctx, job.Spec{Name: l.spec.Name, Host: p.Host}, l.getenv)
	}
}

// removeLimit is how long removing a container may take, and removeTries how often it is tried.
const (
	removeLimit = time.Minute
	removeTries = 5
)

// remove removes a container, whether it runs or not. It may be gone.
func remove(ctx context.Context, spec job.Spec, getenv func(string) string) error {
	ctx, cancel := context.WithTimeout(ctx, removeLimit)
	defer cancel()
	for tries := 1; ; tries++ {
		e, err := find(ctx, spec.Host, getenv)
		if err == nil {
			_, err = e.ContainerRemove(ctx, spec.Name, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
			_ = e.Close()
		}
		if err == nil || errdefs.IsNotFound(err) {
			return nil
		}
		if tries == removeTries || ctx.Err() != nil {
			return err
		}
		pause(ctx, time.Second)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
