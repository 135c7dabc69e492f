package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"berth/backend/agent/container"
	"berth/backend/agent/environ"
	"berth/backend/agent/lease"
	"berth/backend/agent/process"
	"berth/backend/agent/program"
	"berth/backend/agent/shim"
	"berth/backend/api"
	"berth/queue"
)

// A run with an image has a container. Its main process here is the program that speaks to the engine (package
// container): it may be killed, and its shim with it, while the container runs. Then another one is begun, in a folder
// of its own below the run's, which finds the container by its name. What it did is in the run's folder; the last
// folder's record says who is told what the run is told.

// mostAgain is how often that is done: what never comes to an end is none that helps.
const mostAgain = 1000

// againDir is the folder of the program that came after n others.
func (x *run) againDir(n int) string {
	if n == 0 {
		return x.Dir
	}
	return filepath.Join(x.Dir, "again."+strconv.Itoa(n))
}

// lastAgain is the number of the last one.
func (x *run) lastAgain() (n int) {
	for n < mostAgain {
		if _, err := os.Stat(x.againDir(n + 1)); err != nil {
			break
		}
		n++
	}
	return n
}

// containerOf is what the container of a run is to be.
func (x *run) containerOf(cwd, mark string) container.Spec {
	memory := x.Spec.Memory
	if memory == 0 {
		memory, _ = process.Machine()
	}
	h := x.r.h
	token := strings.TrimPrefix(mark, markName)
	s := container.Spec{Name: containerName(mark), Image: x.Spec.Image, Dir: x.Dir, Workdir: cwd,
		Mounts: []string{cwd, h.Share, h.Scratch}, Home: h.Scratch, Memory: x.Spec.Memory, CPUs: x.Spec.CPUs, Shm: memory / 2,
		Label: map[string]string{container.LabelJob: x.ID.String(), container.LabelRun: token,
			container.LabelUUID: x.Spec.UUID, container.LabelHome: h.State}}
	if x.r.Engine != nil {
		s.Host = x.r.Engine()
	}
	if x.Spec.Service != nil {
		s.Network = "host" // its port is one of the instance
	}
	s.GPUs = x.uuids()
	s.NoGPUs = len(x.GPUs) == 0 && x.r.HasGPUs != nil && x.r.HasGPUs()
	return s
}

// containerName is what the container of a run is called.
func containerName(mark string) string { return "berth-" + strings.TrimPrefix(mark, markName) }

// inContainer are the variables of the program in a container: none of the host's, beside who it is. Which GPUs it sees
// is the runtime's: they have other numbers in there.
func (x *run) inContainer(mark string) ([]string, error) {
	secrets, err := x.r.secrets.env(x.Spec.UUID, x.Spec.Secrets)
	if err != nil {
		return nil, err
	}
	env := environ.Merge(nil, x.Spec.Env...)
	env = environ.Merge(env, secrets...)
	if environ.Lookup(env, "PYTHONUNBUFFERED") == "" {
		env = environ.Merge(env, "PYTHONUNBUFFERED=1")
	}
	env = x.rendezvous(withThreads(env, x.Spec.CPUs))
	for _, kv := range x.r.h.Env() {
		if !strings.HasPrefix(kv, api.AgentVariable+"=") { // its socket is not in there
			env = environ.Merge(env, kv)
		}
	}
	env = environ.Merge(env, x.who(mark)...)
	if len(x.GPUs) > 0 {
		env = environ.Merge(env, "BERTH_GPU_UUIDS="+strings.Join(x.uuids(), ","))
	}
	return env, nil
}

// inContainerArgv is the command line in a container, where the user's shell may not be.
func (x *run) inContainerArgv() []string {
	if x.Spec.Shell {
		return append([]string{"/bin/sh", "-c"}, x.Spec.Argv...)
	}
	return x.Spec.Argv
}

// beginIn begins the program that runs the container, with its records in a folder.
func (x *run) beginIn(ctx context.Context, dir, mark string) error {
	cwd, err := x.r.h.Dir(x.Spec.Workdir)
	if err != nil {
		if dir == x.Dir {
			return &refusal{program.NotExecutable, err.Error()}
		}
		cwd = "/" // it is gone; the container has it
	}
	env, err := x.inContainer(mark)
	if err != nil {
		return err
	}
	args, err := x.containerOf(cwd, mark).Args(container.WordRun, x.inContainerArgv())
	if err != nil {
		return err
	}
	argv, err := x.r.h.EngineCommand(args...)
	if err != nil {
		return &refusal{program.NotExecutable, err.Error()}
	}
	spec := x.specIn(dir, mark, cwd)
	if dir != x.Dir {
		spec.Names = append(spec.Names, x.Dir)
		spec.Cgroup += "." + filepath.Base(dir) // the other one may not be gone yet
	}
	own := environ.Merge(x.r.h.Environment(ctx, nil, false, ""), mark)
	spec.Path, spec.Argv0 = process.Text(argv[0]), process.Text(argv[0])
	spec.Args, spec.Env = argv[1:], container.Give(own, env)
	return x.launch(ctx, spec, nil)
}

// watchContainer says what becomes of a run with a container.
func (x *run) watchContainer(ctx context.Context) {
	told, supervised := false, false
	started := func(f *process.Found, by bool) {
		if !told || supervised != by {
			told, supervised = true, by
			first := x.first(f)
			x.tell(queue.Event{Started: &queue.Started{PID: f.Record.Child.PID, At: first, Supervised: by,
				Warnings: x.warnings}})
		}
	}
	wait, short := firstPause, lineWait
	var since time.Time // of the newest program
	for n := x.lastAgain(); ctx.Err() == nil; {
		f := process.Look(x.againDir(n), process.RecordName)
		if f.Record.Shim.PID != 0 {
			x.follows(f.Record)
		}
		lives := f.Record.Child.PID != 0 && f.Record.Child.Alive()
		res, known, err := container.ReadResult(x.Dir)
		switch {
		case err != nil || f.Fate == process.Unclear:
			x.r.h.Log.Warn("what became of a job can't be told", "job", x.ID.String(), "folder", f.Dir, "err", err,
				"record", f.Err)
			pause(ctx, wait)
			wait = min(2*wait, lastPause)
			continue
		case lives:
			started(&f, f.Fate == process.Running)
			if f.Fate == process.Running {
				awaitEither(ctx, f.Record.Child, f.Record.Shim)
			} else {
				pause(ctx, lookEvery/10)
			}
			short = lineWait
			continue
		case known:
			started(&f, true)
			x.containerEnds(ctx, res)
			return
		case f.Fate == process.Running: // it is about to start, or its line is being written
			pause(ctx, short)
			short = min(2*short, lineMost)
			continue
		case f.Fate == process.Ended && f.Exit.Errno != 0:
			x.ends(ctx, f)
			return
		case f.Fate == process.Unstarted && n == 0:
			x.tell(queue.Event{Ended: &queue.Ended{At: time.Now().UTC(), Exit: -1,
				Lost: "its folder " + x.Dir + " is gone, and with it what was known of the run"}})
			return
		case f.Record.Shim.OfOtherBoot():
			x.tell(queue.Event{Ended: &queue.Ended{At: time.Now().UTC(), Exit: -1, Lost: whyLost(f)}})
			x.clearContainer(ctx)
			return
		case n == mostAgain:
			x.tell(queue.Event{Ended: &queue.Ended{At: time.Now().UTC(), Exit: -1,
				Lost: "the program that runs its container has ended again and again; the container may run on"}})
			return
		}
		// The program has ended, and its container may run. One that ends at once is not begun again at once.
		if !since.IsZero() && time.Since(since) < wait {
			pause(ctx, wait)
			wait = min(2*wait, lastPause)
		}
		since = time.Now()
		if f.Fate != process.Unstarted {
			n++
		}
		if err := x.again(ctx, x.againDir(n)); err != nil && ctx.Err() == nil {
			x.r.h.Log.Warn("the container of a job can't be looked after", "job", x.ID.String(), "err", err)
			pause(ctx, wait)
		}
		told = false // who is told what it is told is another one
	}
}

// first is when the run began: that of its first program.
func (x *run) first(f *process.Found) time.Time {
	if r, err := process.ReadRecord(x.Dir, process.RecordName); err == nil && !r.StartedAt.IsZero() {
		return r.StartedAt
	}
	return f.Record.StartedAt
}

// follows has what the run is told go to another process.
func (x *run) follows(rec process.Record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.rec == nil || x.rec.Shim != rec.Shim || x.rec.Child != rec.Child {
		x.rec = &rec
	}
}

// again begins another program for the run's container, in a folder.
func (x *run) again(ctx context.Context, dir string) error {
	if x.line != nil {
		x.line.Drop()
		x.line = nil
	}
	first, err := process.ReadRecord(x.Dir, process.RecordName)
	if err != nil {
		return err
	}
	if err := makeDir(dir); err != nil {
		return err
	}
	return x.beginIn(ctx, dir, first.Mark)
}

// leaseWait is how long the lease of a run's GPUs may be held by what looked after its container before.
const leaseWait = 3 * time.Second

// leaseAgain takes the lease of the run's GPUs again, which its container uses. Where somebody else has it by now, the
// container is looked after all the same.
func (x *run) leaseAgain(ctx context.Context) (held *lease.Lease, err error) {
	var other *lease.HeldError
	for began := time.Now(); ; pause(ctx, lookEvery/20) {
		if held, err = x.lease(); !errors.As(err, &other) || ctx.Err() != nil {
			return held, err
		}
		if time.Since(began) > leaseWait {
			x.r.h.Log.Warn("the GPUs of a job's container are held by another one", "job", x.ID.String(), "err", err)
			return nil, nil
		}
	}
}

// containerEnds tells how a container has ended.
func (x *run) containerEnds(ctx context.Context, res container.Result) {
	e := &queue.Ended{At: res.EndedAt, Exit: res.Exit, Signal: res.Signal, Failed: res.Failed, Lost: res.Lost,
		Warnings: res.Warnings, CPU: time.Duration(res.CPUSeconds * float64(time.Second)), PeakMemory: res.PeakMemory}
	if res.Lost != "" {
		e.Exit = -1
	}
	e.OOM = oomText(res.Killed, x.Spec.Memory, res.PeakMemory)
	if res.Exit != 0 && res.Failed == "" && len(x.GPUs) > 0 && x.r.Examine != nil {
		x.r.Examine(ctx) // they may be why
	}
	if len(x.GPUs) > 0 && x.line != nil { // they are free for the next one then
		wait, cancel := context.WithTimeout(ctx, lineMost)
		if _, ok := x.line.Exit(wait); ok {
			x.line.Alone(wait)
		}
		cancel()
	}
	x.tell(queue.Event{Ended: e})
	if x.line == nil {
		return
	}
	// The shim may get another run once the container is removed.
	wait, cancel := context.WithTimeout(ctx, clearLimit)
	defer cancel()
	if _, ok := x.line.Exit(wait); ok && x.line.Alone(wait) {
		x.letGo()
		return
	}
	x.line.Drop()
	x.line = nil
}

// clearLimit is how long removing what is left of a container may take.
const clearLimit = time.Minute

// clearContainer removes the container of a run that is lost.
func (x *run) clearContainer(ctx context.Context) {
	rec, err := process.ReadRecord(x.Dir, process.RecordName)
	p, made, err2 := container.ReadProgress(x.Dir)
	if err != nil || err2 != nil || !made {
		return
	}
	s := container.Spec{Name: containerName(rec.Mark), Host: p.Host}
	if _, err := AskEngine(ctx, x.r.h, container.WordRemove, s, clearLimit); err != nil {
		x.r.h.Log.Warn("the container of a job that is lost is not removed", "job", x.ID.String(), "err", err)
	}
}

// sendContainer tells a container something: the program that looks after it does.
func (x *run) sendContainer(ctx context.Context, rec process.Record, s queue.Signal) error {
	sig, err := containerSignal(s)
	if err != nil {
		return err
	}
	for began := time.Now(); rec.Child.Alive() && time.Since(began) < readyWait && ctx.Err() == nil; {
		if container.Ready(x.Dir, rec.Child.PID) {
			break
		}
		pause(ctx, lineWait)
	}
	return process.Signal(rec.Child, sig)
}

// containerSignal is what the program is told for a signal: it can't catch all of them.
func containerSignal(s queue.Signal) (syscall.Signal, error) {
	sig, ok := shim.ParseSignal(s.Name)
	switch {
	case !ok:
		return 0, errors.New("there is no such signal")
	case sig == syscall.SIGKILL:
		return container.Kill, nil
	case sig == syscall.SIGSTOP:
		return container.Pause, nil
	case sig == syscall.SIGCONT:
		return container.Go, nil
	}
	return sig, nil
}

// readyWait is how long the program may take until it can be told something.
const readyWait = 5 * time.Second
