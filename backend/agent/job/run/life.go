package run

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"berth/backend/agent/joblog"
	"berth/backend/agent/process"
	"berth/backend/agent/program"
	"berth/gpu/procs/proc"
	"berth/queue"
)

const (
	// firstPause and lastPause are between tries to begin a run, and between looks at one of which nothing can be said.
	firstPause, lastPause = time.Second, 30 * time.Second
	// lineWait is how long after the end of the main process its line is looked for at first, and lineMost at last.
	lineWait, lineMost = time.Millisecond, time.Second
	// shimWait is how long a shim may take to leave after its line; then it waits for processes that were left.
	shimWait = 50 * time.Millisecond
	// lookEvery is how often processes are looked at that no shim waits for, and leftEvery those that one does.
	lookEvery, leftEvery = time.Second, 5 * time.Second
	// maxNames bounds how many leftovers are named.
	maxNames = 100
)

// live is the life of a run, from its begin to its end or that of ctx. begin ends earlier where it is told to end
// before it has begun.
func (x *run) live(ctx, begin context.Context) {
	defer x.letGo()
	ok := x.begin(ctx, begin)
	close(x.began)
	switch {
	case ok && x.Spec.Image != "":
		x.watchContainer(ctx)
	case ok:
		x.watch(ctx)
	}
}

// watch says what becomes of a run that has begun.
func (x *run) watch(ctx context.Context) {
	told, supervised := false, false
	wait, unclear := lineWait, firstPause
	var f process.Found
	started := func(by bool) {
		warnings := x.warnings
		if !x.uncapped {
			warnings = slices.Concat(warnings, uncapped(f.Record.Limit))
		}
		if !told || supervised != by {
			told, supervised = true, by
			x.tell(queue.Event{Started: &queue.Started{PID: f.Record.Child.PID, At: f.Record.StartedAt,
				Supervised: by, Warnings: warnings}})
		}
	}
	limited, stop := context.WithCancel(ctx)
	defer stop()
	limitLog := sync.OnceFunc(func() { // its shim did so, which is gone
		if x.Spec.LogLimit == 0 {
			return
		}
		x.r.wg.Go(func() {
			if err := joblog.Limit(limited, x.Dir, x.Spec.LogLimit); err != nil && limited.Err() == nil {
				x.r.h.Log.Warn("a job's log has no limit any more", "job", x.ID.String(), "err", err)
			}
		})
	})
	if x.line != nil {
		f = process.Found{Dir: x.Dir, Record: x.line.Record, Fate: process.Ended}
		started(true)
		var ok bool
		if f.Exit, ok = x.line.Exit(ctx); ok {
			x.ends(ctx, f)
			return
		}
	}
	for ctx.Err() == nil {
		f = process.Look(x.Dir, process.RecordName)
		switch f.Fate {
		case process.Running:
			if f.Record.Child.PID != 0 {
				started(true)
			}
			if f.Record.Child.Alive() {
				wait = lineWait
				awaitEither(ctx, f.Record.Child, f.Record.Shim)
				continue
			}
			pause(ctx, wait) // its line is being written, or it is about to start
			wait = min(2*wait, lineMost)
		case process.Ended:
			if f.Exit.Errno == 0 {
				started(true)
			}
			x.ends(ctx, f)
			return
		case process.Orphaned:
			started(false)
			limitLog()
			pause(ctx, lookEvery)
		case process.Lost:
			why := whyLost(f)
			_, _ = f.Record.Cgroup.Remove(), f.Record.Limit.Remove()
			x.tell(queue.Event{Ended: &queue.Ended{At: time.Now().UTC(), Exit: -1, Lost: why}})
			return
		case process.Unstarted:
			x.tell(queue.Event{Ended: &queue.Ended{At: time.Now().UTC(), Exit: -1,
				Lost: "its folder " + x.Dir + " is gone, and with it what was known of the run"}})
			return
		default:
			x.r.h.Log.Warn("what became of a job can't be told", "job", x.ID.String(), "folder", x.Dir, "err", f.Err)
			pause(ctx, unclear)
			unclear = min(2*unclear, lastPause)
		}
	}
}

func whyLost(f process.Found) string {
	why := "its shim was ended, and none of its processes is left"
	if f.Record.Shim.OfOtherBoot() {
		why = "the machine was restarted while it ran"
	}
	if l := f.Record.Limit; l != nil && !f.Record.Shim.OfOtherBoot() {
		if oom := oomText(l.Killed(), l.Memory, l.Memory); oom != "" {
			why += "; " + oom
		}
	}
	if f.Err != nil {
		why += "; " + f.Err.Error()
	}
	return why
}

// ends tells the end of the main process, and what it has left until nothing is.
func (x *run) ends(ctx context.Context, f process.Found) {
	var names []string
	if !f.Exit.Alone || !f.Record.Tree {
		names = x.left(ctx, f.Record, shimWait)
	}
	if ctx.Err() != nil {
		return // the next agent finds it all again
	}
	e := &queue.Ended{At: f.Exit.EndedAt, Exit: f.Exit.Code, Signal: f.Exit.Signal, PeakMemory: f.Exit.PeakMemory,
		CPU: time.Duration(f.Exit.CPUSeconds * float64(time.Second)), Left: names}
	var memory int64
	if l := f.Record.Limit; l != nil {
		memory = l.Memory
	}
	e.OOM = oomText(f.Exit.Killed, memory, f.Exit.PeakMemory)
	if e.OOM != "" && memory == 0 && x.r.Biggest != nil {
		if who := x.r.Biggest(ctx); who != "" {
			e.OOM += "; most of it has " + who
		}
	}
	if no := syscall.Errno(f.Exit.Errno); no != 0 {
		err := program.Explain(no, x.name(), f.Record.Command)
		e.Exit, e.Failed = program.NotExecutable, err.Error()
		var say *program.Error
		if errors.As(err, &say) {
			e.Exit = say.Status
		}
	}
	if len(names) == 0 {
		x.letGo()
	}
	if failed := e.Exit != 0 && e.Failed == ""; failed && len(x.GPUs) > 0 && x.r.Examine != nil {
		x.r.Examine(ctx) // they may be why
	}
	x.tell(queue.Event{Ended: e})
	for len(names) > 0 {
		now := x.left(ctx, f.Record, leftEvery)
		if ctx.Err() != nil {
			return
		}
		if !slices.Equal(now, names) {
			if names = now; len(names) == 0 {
				x.letGo()
			}
			x.tell(queue.Event{Left: &queue.Left{Names: names}})
		}
	}
	if !f.Exit.Alone { // else its shim has
		_, _ = f.Record.Cgroup.Remove(), f.Record.Limit.Remove()
	}
}

// left names the processes that live after the main one. It returns early when none is left, else after limit.
func (x *run) left(ctx context.Context, rec process.Record, limit time.Duration) []string {
	alone := func() bool {
		e, ok, err := process.ReadExit(x.Dir)
		return ok && err == nil && e.Alone && rec.Tree
	}
	if alone() {
		return nil
	}
	if rec.Shim.Alive() { // it waits for all that descends from it
		wait, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		if x.line == nil || !x.line.Alone(wait) && ctx.Err() == nil && wait.Err() == nil {
			_ = process.AwaitEnd(wait, rec.Shim)
		}
		if alone() {
			return nil
		}
	} else if limit > lookEvery {
		pause(ctx, lookEvery)
	}
	// What forks a successor and ends slips through a look: one that finds nothing proves nothing while the shim still
	// waits for somebody.
	for empty := 0; empty < emptyLooks && ctx.Err() == nil; empty++ {
		members, err := rec.Set().Members()
		if err != nil {
			x.r.h.Log.Warn("what a job has left running can't be told", "job", x.ID.String(), "err", err)
			return []string{unnamed}
		}
		if names := namesOf(members); len(names) > 0 {
			return names
		}
		if alone() {
			return nil
		}
		pause(ctx, emptyPause)
	}
	if rec.Tree && rec.Shim.Alive() && !alone() {
		return []string{unnamed}
	}
	return nil
}

// emptyLooks is after how many looks that find nothing there is nothing, with emptyPause between them. unnamed stands
// for what can't be named.
const (
	emptyLooks = 5
	emptyPause = 20 * time.Millisecond
	unnamed    = "unknown"
)

func namesOf(members []proc.Identity) (names []string) {
	for _, m := range members[:min(len(members), maxNames)] {
		if args, err := proc.Args(m.PID); err == nil && len(args) > 0 { // else it has just ended
			names = append(names, filepath.Base(args[0]))
		}
	}
	slices.Sort(names)
	return names
}

// awaitEither waits until one of two processes has ended, or ctx ends.
func awaitEither(ctx context.Context, a, b proc.Identity) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	other := make(chan struct{})
	go func() {
		defer close(other)
		defer cancel()
		_ = process.AwaitEnd(ctx, b)
	}()
	_ = process.AwaitEnd(ctx, a)
	cancel()
	<-other
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
