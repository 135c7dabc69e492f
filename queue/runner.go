package queue

import (
	"context"
	"time"
)

// Runner runs jobs. Its methods return at once; what has become of the runs comes by Events.
type Runner interface {
	// Start begins a run, whose folder it makes exclusively: a folder that is there is adopted instead.
	Start(ctx context.Context, r Run)
	// Adopt says what has become of a run that another agent began.
	Adopt(ctx context.Context, r Run)
	// Signal signals a run.
	Signal(ctx context.Context, r Run, s Signal)
}

// Run is one try at a job.
type Run struct {
	ID      ID
	Attempt int
	Spec    Spec   // with the parameters of its element filled in
	Dir     string // its own folder
	GPUs    []GPU  // that it has
	// Begun says that it was seen to run: it is never begun again, also if nothing of it is left.
	Begun bool
}

// Signal is what a run is told.
type Signal struct {
	Name  string // TERM, STOP, CONT, USR1, KILL
	Scope Scope
}

// Scope is who of a run gets a signal.
type Scope string

// The scopes.
const (
	Leader Scope = "leader" // the main process and, if that is a shell, its direct children
	All    Scope = "all"    // every process of the run
)

// Event is what a Runner has seen of a run. One field is set.
type Event struct {
	ID      ID
	Attempt int
	At      time.Time

	Started *Started
	Ended   *Ended
	Left    *Left
	Delayed *Delayed
	Refused *Refused
}

// Started is a run whose main process runs. It comes again for a run that is adopted, and when its shim is gone.
type Started struct {
	PID        int
	At         time.Time
	Supervised bool // its shim lives, and will tell how it ends
	Warnings   []string
}

// Delayed is a run that can't be begun for now, for a reason that will pass: a full disk, say. It is tried again.
type Delayed struct {
	Why string
}

// Refused is a run that can't be begun, since somebody else was faster to take a GPU of it. It is not tried again: the
// job may get other GPUs.
type Refused struct {
	Why string // "job 7 of bob"
}

// Ended is a run whose main process has ended, or can't be started.
type Ended struct {
	At     time.Time
	Exit   int    // -1: it isn't known
	Signal string // that ended it
	// Failed is why the program was not run; Exit is 127 or 126 then.
	Failed string
	// Lost is why nothing is known of its end: none of its processes is left.
	Lost       string
	CPU        time.Duration
	PeakMemory int64 // bytes
	// LogBytes, PeakGPUMemory and GPUEnergy are as in Status.
	LogBytes      int64
	PeakGPUMemory int64
	GPUEnergy     float64
	// OOM says in words that processes of it were killed for want of memory; "": none was.
	OOM string
	// Warnings are for who looks at the job.
	Warnings []string
	// Beside is who else had memory of its GPUs just before it failed, in words; "": nobody much.
	Beside string
	// Left are names of processes of the run that live on. The run is over when there is none; Left events come until
	// then otherwise.
	Left []string
}

// Left is which processes of a run live after its main process: none when all are gone.
type Left struct {
	Names []string
}
