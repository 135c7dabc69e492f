package queue

import "time"

// Spec is what was asked for. It never changes: a job with changes is another job. Arguments, folders and values of
// the environment are any bytes without NUL.
type Spec struct {
	Name    string   `json:"name,omitzero"`
	Argv    []string `json:"argv,omitzero"`
	Workdir string   `json:"workdir,omitzero"` // absolute
	Env     []string `json:"env,omitzero"`     // KEY=VALUE, over the login environment
	Shell   bool     `json:"shell,omitzero"`   // Argv[0] is a script for the user's shell
	Conda   string   `json:"conda,omitzero"`   // an environment that is activated before
	Venv    string   `json:"venv,omitzero"`    // a folder of one
	Secrets []string `json:"secrets,omitzero"` // names of variables whose values are kept apart

	Request  Request      `json:"request,omitzero"`
	Group    string       `json:"group,omitzero"`    // its limit counts; "": none
	Priority int          `json:"priority,omitzero"` // higher goes first; Status has what it became
	After    []Dependency `json:"after,omitzero"`
	Begin    time.Time    `json:"begin,omitzero"` // not before; zero: at once
	Hold     bool         `json:"hold,omitzero"`  // it begins held

	Timeout       time.Duration `json:"timeout,omitzero"`        // of one run, without what it was paused; 0: none
	Retries       int           `json:"retries,omitzero"`        // runs more, after one that failed or was lost
	Image         string        `json:"image,omitzero"`          // it runs in a container of this image; "": on the host
	Ranks         int           `json:"ranks,omitzero"`          // processes of it, one a GPU; 0: it is one program
	GPUsByUUID    bool          `json:"gpus_by_uuid,omitzero"`   // its program sees the UUIDs of its GPUs, not their indices
	Grace         time.Duration `json:"grace,omitzero"`          // between the request to end and the kill; 0: DefaultGrace
	Notice        Notice        `json:"notice,omitzero"`         // a signal before the time-out
	KillLeftovers bool          `json:"kill_leftovers,omitzero"` // what the main process leaves running is killed
	LogLimit      int64         `json:"log_limit,omitzero"`      // bytes of log that are kept; 0: all

	Array  *Array   `json:"array,omitzero"`  // nil: one job
	Sweep  *Sweep   `json:"sweep,omitzero"`  // parameters of an array's elements; nil: none
	Notify []string `json:"notify,omitzero"` // names of what is told
	User   string   `json:"user,omitzero"`   // who asked, in words
	UUID   string   `json:"uuid,omitzero"`   // the caller's; a submit that is said again has the same

	CPUs    int     `json:"cpus,omitzero"`     // that it may use at once; 0: all. It takes no more slots for that
	Memory  int64   `json:"memory,omitzero"`   // bytes that it may use; 0: all
	RetryOn []Cause `json:"retry_on,omitzero"` // the causes for which Retries count; none: the UsualRetries

	// Service has it kept up until somebody ends it; nil: it is a job, which ends.
	Service *Service `json:"service,omitzero"`

	// Expect is how long a run takes by the history of the same command; 0: not known.
	Expect time.Duration `json:"expect,omitzero"`
	// ExpectLog is how many bytes it prints, by the same.
	ExpectLog int64 `json:"expect_log,omitzero"`
}

// DefaultGrace is between the request to end and the kill.
const DefaultGrace = time.Minute

// Request is what a job takes while it runs. Jobs with equal requests, groups, users and time-outs are planned alike.
type Request struct {
	Slots int `json:"slots,omitzero"` // 0: one; -1: none, of a service
	// GPUs is how many it holds; 0: it wants none; -1: nothing was said, and it gets one where there are any.
	GPUs int `json:"gpus,omitzero"`
	// GPUMemory is how many bytes of each of its GPUs it gets; it shares them. 0: it has them for itself.
	GPUMemory int64 `json:"gpu_memory,omitzero"`
	Exclusive bool  `json:"exclusive,omitzero"` // no other job runs beside it
}

// Notice is a signal that is sent a while before the time-out, for a checkpoint.
type Notice struct {
	Signal string        `json:"signal,omitzero"` // USR1; "": none
	Before time.Duration `json:"before,omitzero"` // more than 0
}
