package run

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"berth/backend/agent/environ"
	"berth/backend/agent/joblog"
	"berth/backend/agent/lease"
	"berth/backend/agent/process"
	"berth/backend/agent/program"
	"berth/backend/agent/ranks"
	"berth/backend/agent/shim"
	"berth/backend/agent/user"
	"berth/backend/base/atomicfile"
	"berth/queue"
)

// refusal is why a run can't be begun, now and at any later time. It becomes the job's end.
type refusal struct {
	exit int
	why  string
}

func (r *refusal) Error() string { return r.why }

// begin begins the run unless it has begun before. It reports whether it has; else its end was told, or ctx has ended.
// What keeps it from beginning for now is told, and it is tried again.
func (x *run) begin(ctx, begin context.Context) bool {
	said := ""
	for wait := firstPause; ctx.Err() == nil; wait = min(2*wait, lastPause) {
		f := process.Look(x.Dir, process.RecordName)
		if f.Fate == process.Unclear { // it may run
			said = x.delay(f.Err, said)
			pause(ctx, wait)
			continue
		}
		if f.Fate == process.Unstarted && !x.Begun {
			err := x.start(begin)
			if x.line != nil {
				f = process.Found{Dir: x.Dir, Record: x.line.Record, Fate: process.Running}
			} else {
				f = process.Look(x.Dir, process.RecordName)
			}
			var no *refusal
			var held *lease.HeldError
			switch {
			case f.Fate != process.Unstarted:
			case ctx.Err() != nil:
				return false
			case begin.Err() != nil:
				x.tell(queue.Event{Ended: x.endedBefore()})
				return false
			case errors.As(err, &no):
				x.tell(queue.Event{Ended: &queue.Ended{At: time.Now().UTC(), Exit: no.exit, Failed: no.why}})
				return false
			case errors.Is(err, process.ErrBegun): // another agent's shim is about to write its record
				pause(ctx, lineWait)
				wait = firstPause / 2
				continue
			case errors.As(err, &held) && !x.own(held.By):
				x.refused = held.By.Who()
				return false
			default:
				said = x.delay(err, said)
				if held != nil {
					wait = firstPause // what is left of another job of this queue goes at any time
				}
				pause(begin, wait)
				continue
			}
		}
		if f.Record.Shim.PID != 0 {
			x.mu.Lock()
			x.rec = &f.Record
			x.mu.Unlock()
		}
		return true
	}
	return false
}

// delay says, once, why the run can't be begun for now.
func (x *run) delay(err error, said string) string {
	why := err.Error()
	if why != said {
		x.r.h.Log.Warn("a job can't be begun for now", "job", x.ID.String(), "err", why)
		x.tell(queue.Event{Delayed: &queue.Delayed{Why: why}})
	}
	return why
}

// endedBefore is the end of a run that was told to end before its program ran.
func (x *run) endedBefore() *queue.Ended {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := &queue.Ended{At: time.Now().UTC(), Exit: -1, Signal: x.ended}
	if sig, ok := shim.ParseSignal(x.ended); ok {
		e.Exit = 128 + int(sig)
	}
	return e
}

// name is the program as it was asked for.
func (x *run) name() string {
	if x.Spec.Shell || len(x.Spec.Argv) == 0 {
		return x.r.h.Shell
	}
	return x.Spec.Argv[0]
}

// argv is the command line.
func (x *run) argv() []string {
	argv := x.Spec.Argv
	if !x.Spec.Shell || len(argv) == 0 {
		return argv
	}
	out := []string{x.r.h.Shell, "-c", argv[0]}
	if len(argv) > 1 {
		out = append(append(out, filepath.Base(x.r.h.Shell)), argv[1:]...)
	}
	return out
}

// markName begins the variable that tells a run's processes from all others. Its value is the token of the run.
const markName = "BERTH_JOB_RUN="

// start starts the run's shim. A refusal is for ever. Whether the run has begun, its folder alone tells.
func (x *run) start(ctx context.Context) error {
	if err := os.MkdirAll(x.Dir, 0o700); err != nil {
		return fmt.Errorf("making the job's folder: %w", err)
	}
	argv := x.argv()
	if len(argv) == 0 || argv[0] == "" {
		return &refusal{program.NotFound, "no command was given"}
	}
	h := x.r.h
	cwd, err := h.Dir(x.Spec.Workdir)
	if err != nil {
		return &refusal{program.NotExecutable, err.Error()}
	}
	if err := x.room(cwd); err != nil {
		return err
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	mark := fmt.Sprintf("%s%s.%d.%s", markName, x.ID.String(), x.Attempt, hex.EncodeToString(b[:]))
	x.warnings = nil
	if x.Spec.Image != "" {
		return x.beginIn(ctx, x.Dir, mark)
	}
	env, err := x.environment(ctx, cwd, mark)
	if err != nil {
		return err
	}
	path, err := program.Look(argv[0], cwd, environ.Lookup(env, "PATH"))
	if err != nil {
		return refused(err)
	}
	if os.Geteuid() != 0 { // else nobody can help, and its shim says why
		if why := Uncapped(ctx, h, &x.Spec); why != "" {
			x.warnings, x.uncapped = append(x.warnings, why), true
		}
	}
	spec := x.specIn(x.Dir, mark, cwd)
	spec.Argv0, spec.Path, spec.Args, spec.Env = process.Text(argv[0]), process.Text(path), argv[1:], env
	return x.launch(ctx, spec, argv)
}

// specIn is what is the same of all that a run starts, with its records in a folder.
func (x *run) specIn(dir, mark, cwd string) shim.Spec {
	spec := shim.Spec{LogLimit: x.Spec.LogLimit}
	spec.Spec = process.Spec{ID: x.ID.String(), Dir: dir, Mark: mark, Cwd: process.Text(cwd),
		Cgroup: "berth-job-" + mark[len(markName):], Limit: limitOf(&x.Spec),
		Names: []string{filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))},
		Once:  len(x.Spec.Secrets) > 0} // its shim's memory goes with it
	return spec
}

// launch has a shim start what a spec says, with the job's log and its GPUs. argv is the command line of one of several
// ranks.
func (x *run) launch(ctx context.Context, spec shim.Spec, argv []string) error {
	h := x.r.h
	log, err := os.OpenFile(joblog.Path(x.Dir), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("making the job's log: %w", err)
	}
	defer log.Close()
	if x.Spec.LogLimit > 0 {
		if err := joblog.Prepare(x.Dir); err != nil {
			x.warnings = append(x.warnings, "the log has no limit: "+err.Error())
		}
	}
	own, err := os.OpenFile(h.LogPath(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the agent's log: %w", err)
	}
	defer own.Close()
	if x.r.Before != nil {
		x.r.Before(ctx, x.Run)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	files := []*os.File{nil, log, log}
	held, err := x.lease()
	if again := spec.Dir != x.Dir; again && errors.As(err, new(*lease.HeldError)) {
		held, err = x.leaseAgain(ctx)
	}
	if err != nil {
		return err
	}
	if held != nil {
		defer held.Close() // the program holds it from now on
		files = append(files, held.Files()...)
	}
	spec.Files = len(files)
	if n := x.Spec.Ranks; n > 0 { // the shim's program is their main process
		play := h.ShimCommand(ranks.Word)
		args := ranks.Args(n, len(files)-3, string(spec.Path), argv)
		spec.Path, spec.Argv0 = process.Text(play[0]), process.Text(play[0])
		spec.Args = append(play[1:len(play)-1:len(play)-1], args...)
	}
	name := fmt.Sprintf("%-*s", shim.NameRoom, spec.ID)
	x.line, err = x.r.shims.Start(context.WithoutCancel(ctx), h.ShimCommand(name), environ.Merge(h.Base, h.Env()...), spec,
		own, files...)
	return err
}

// lease holds the run's GPUs where the other users of this host see it; nil: it has none, or there is no such place.
func (x *run) lease() (*lease.Lease, error) {
	if len(x.GPUs) == 0 || x.r.Leases == nil {
		return nil, nil
	}
	folder, err := x.r.Leases()
	if err != nil {
		x.warnings = append(x.warnings, "other users of this host can't see that it has its GPUs: "+err.Error())
		return nil, nil
	}
	return folder.Take(x.uuids(), Holder(x.r.h.State, x.ID, x.Attempt, x.Spec.Name, x.Spec.Request.GPUMemory))
}

// Holder says in a lease that a run has a GPU: of the queue with that state folder, by the job's name, with so many
// bytes of it reserved where it shares it.
func Holder(state string, id queue.ID, attempt int, name string, reserved int64) lease.Holder {
	return lease.Holder{User: user.Name(), UID: os.Getuid(), Home: state, Job: id.String(), Attempt: attempt,
		Command: name, Reserved: reserved, Since: time.Now().UTC()}
}

// own reports whether a job of this queue holds a GPU.
func (x *run) own(h lease.Holder) bool { return h.UID == os.Getuid() && h.Home == x.r.h.State }

// refused makes a refusal of what program says of a command.
func refused(err error) error {
	var no *program.Error
	if errors.As(err, &no) {
		return &refusal{no.Status, no.Error()}
	}
	return err
}

// makeDir makes a folder, durably.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeDir(filepath.Dir(dir)); err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(dir))
}
