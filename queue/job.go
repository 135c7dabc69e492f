package queue

import (
	"strconv"
	"time"
)

// Job is a job, an array or an element of one.
type Job struct {
	ID   ID
	Spec Spec // an element has its array's; Spec.Of fills it
	Status
}

// Change is a job as it is from now on: what the journal writes.
type Change struct {
	ID ID
	// Spec is that of a new job. It is nil where the journal has it, and of elements: these have their array's.
	Spec   *Spec
	Status Status
}

// Cause is why a job ended, or is made to end. It is read, never guessed.
type Cause string

// The causes.
const (
	ByExit       Cause = "exit"
	BySignal     Cause = "signal" // Signal says which
	ByTimeout    Cause = "timeout"
	ByCancel     Cause = "cancelled"
	ByDependency Cause = "dependency"   // one that it waits for can't be met any more
	ByStart      Cause = "start_failed" // the program could not be run: 127 there is none, 126 it can't be executed
	ByLoss       Cause = "lost"
	ByOOM        Cause = "oom"      // the system killed processes of it for want of memory
	ByXID        Cause = "xid"      // an error of a GPU
	ByGPULoss    Cause = "gpu_lost" // a GPU of it is there no more
)

// RetryCauses are those for which a job can be run again by itself, UsualRetries those for which it is where nothing is
// said.
var (
	RetryCauses  = []Cause{ByExit, BySignal, ByOOM, ByXID, ByGPULoss, ByLoss, ByTimeout}
	UsualRetries = []Cause{ByExit, BySignal, ByOOM, ByXID, ByGPULoss, ByLoss}
)

// Status is what changes of a job.
type Status struct {
	State    State `json:"state,omitzero"`
	Priority int   `json:"priority,omitzero"` // higher goes first
	// Order stands between jobs of one priority: lower goes first. No two jobs have the same. It is the number as long as
	// no job is moved. Elements have their array's, and go by their index.
	Order int64        `json:"order,omitzero"`
	Unmet []Dependency `json:"unmet,omitzero"` // what it still waits for, of Spec.After

	Cause    Cause    `json:"cause,omitzero"`     // of a job that was told to end, has ended, or of which only leftovers run
	ExitCode *int     `json:"exit_code,omitzero"` // of the main process; nil: there is none, or it isn't known
	Signal   string   `json:"signal,omitzero"`    // that ended it, "TERM"
	By       string   `json:"by,omitzero"`        // who asked for the end, where somebody did
	Message  string   `json:"message,omitzero"`   // of a failure, in words
	Warnings []string `json:"warnings,omitzero"`

	Attempt    int      `json:"attempt,omitzero"`    // 1 for the first run; 0: none yet
	Retried    int      `json:"retried,omitzero"`    // runs by itself, after those that failed, since somebody asked for a run
	GPUs       []GPU    `json:"gpus,omitzero"`       // that its newest run has
	Supervised bool     `json:"supervised,omitzero"` // false while it runs: its shim is gone
	Left       []string `json:"left,omitzero"`       // what the main process left running

	SubmittedAt time.Time     `json:"submitted_at,omitzero"`
	EligibleAt  time.Time     `json:"eligible_at,omitzero"` // of a retry: not before
	StartedAt   time.Time     `json:"started_at,omitzero"`  // of the newest run; zero: its main process was not seen yet
	EndedAt     time.Time     `json:"ended_at,omitzero"`    // of its main process, or of a job that never ran
	NoticedAt   time.Time     `json:"noticed_at,omitzero"`  // when the signal before the time-out was sent
	StopAt      time.Time     `json:"stop_at,omitzero"`     // when it was told to end
	PausedAt    time.Time     `json:"paused_at,omitzero"`   // since when it is paused
	PausedFor   time.Duration `json:"paused_for,omitzero"`
	Again       bool          `json:"again,omitzero"` // it was told to end for now: it waits again after that

	CPU        time.Duration `json:"cpu,omitzero"`         // of all its processes
	PeakMemory int64         `json:"peak_memory,omitzero"` // bytes

	// Beside is who else had memory of its GPUs when it failed, in words.
	Beside string `json:"beside,omitzero"`

	LogBytes      int64   `json:"log_bytes,omitzero"`       // that its newest run printed
	PeakGPUMemory int64   `json:"peak_gpu_memory,omitzero"` // bytes, of all its processes on all its GPUs; 0: not known
	GPUEnergy     float64 `json:"gpu_energy,omitzero"`      // joules, of the GPUs that it had for itself

	// Begun are the places of an array's elements that have jobs of their own, with steps of 1. The others are Queued
	// or Held where the array is, and Cancelled otherwise.
	Begun []Range `json:"begun,omitzero"`
	// Tally counts an array's elements that are done.
	Tally Tally `json:"tally,omitzero"`

	Code  *Code `json:"code,omitzero"`  // of its folder when it was submitted; nil: there is none, or it is not known
	Began *Code `json:"began,omitzero"` // the same when its newest run began; nil: as it was

	// Owed are those of Spec.Notify who were not told of its end yet. Of elements nobody is told.
	Owed []Owed `json:"owed,omitzero"`
	// Ruled are those whom the instance's rules named beside them at its end.
	Ruled []string `json:"ruled,omitzero"`

	// Seq is the journal's number of the last change: who knows all up to a number asks for what is above it. The
	// journal gives it.
	Seq int64 `json:"seq,omitzero"`
}

// GPU is one that a run has.
type GPU struct {
	UUID  string `json:"uuid"`
	Index int    `json:"index"`        // by the order of the PCI bus; of a MIG instance, that of the GPU it is of
	MIG   bool   `json:"mig,omitzero"` // it is a MIG instance
}

// Name is what people call it: "GPU 2".
func (g GPU) Name() string {
	if g.MIG {
		return "MIG instance " + g.UUID + " of GPU " + strconv.Itoa(g.Index)
	}
	return "GPU " + strconv.Itoa(g.Index)
}

// Tally counts elements by their end.
type Tally struct {
	Succeeded int `json:"succeeded,omitzero"`
	Failed    int `json:"failed,omitzero"`
	Cancelled int `json:"cancelled,omitzero"`
	TimedOut  int `json:"timed_out,omitzero"`
	Lost      int `json:"lost,omitzero"`
}

// Of is the count of those that are in a state, which is final.
func (t *Tally) Of(s State) *int {
	switch s {
	case Succeeded:
		return &t.Succeeded
	case Failed:
		return &t.Failed
	case Cancelled:
		return &t.Cancelled
	case TimedOut:
		return &t.TimedOut
	case Lost:
		return &t.Lost
	}
	panic("queue: a tally has no count of " + string(s))
}

// Done is how many are done.
func (t Tally) Done() int { return t.Succeeded + t.Failed + t.Cancelled + t.TimedOut + t.Lost }

// End is the turn by which an array ends: that of the worst of its elements.
func (t Tally) End() Turn {
	switch {
	case t.Failed > 0:
		return ToFail
	case t.Lost > 0:
		return ToLose
	case t.TimedOut > 0:
		return ToTimeOut
	case t.Cancelled > 0:
		return ToCancel
	}
	return ToSucceed
}
