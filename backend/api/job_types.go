package api

import "time"

// JobRequest asks for a job. Argv, Workdir and Env are any bytes, and stand in Bytes where text can't carry them.
type JobRequest struct {
	// UUID is the caller's: said again it is answered with the first one's job.
	UUID string `json:"uuid"`
	Name string `json:"name,omitempty"`

	Argv    []string   `json:"argv"`
	Workdir string     `json:"workdir,omitempty"` // empty: the instance's; a relative one is below it
	Env     []string   `json:"env,omitempty"`     // K=V
	Bytes   *ExecBytes `json:"bytes,omitempty"`   // on the wire only
	Shell   bool       `json:"shell,omitempty"`   // Argv[0] is a script for the user's shell
	// Taken has it run in the folder that AgentClient.Take made for its UUID; Workdir is below that.
	Taken bool `json:"taken,omitempty"`
	// CopyOf is the UUID of a job with a folder of its own: this one gets a copy of that as it is now, and is Taken.
	CopyOf string `json:"copy_of,omitempty"`
	Conda  string `json:"conda,omitempty"`
	Venv   string `json:"venv,omitempty"`

	GPUs *int `json:"gpus,omitempty"` // nil: nothing was said
	// GPUMemoryBytes is how much of each GPU's memory it gets, which it shares; 0: it has them for itself.
	GPUMemoryBytes int64 `json:"gpu_memory_bytes,omitempty"`
	// GPUIDs is how its program sees its GPUs: "index" (or nothing) or "uuid".
	GPUIDs       string    `json:"gpu_ids,omitempty"`
	Exclusive    bool      `json:"exclusive,omitempty"` // nothing runs beside it
	Ranks        int       `json:"ranks,omitempty"`     // processes, one a GPU; 0: it is one program
	Image        string    `json:"image,omitempty"`     // it runs in a container of this image; empty: on the host itself
	Group        string    `json:"group,omitempty"`
	Priority     int       `json:"priority,omitempty"`
	After        []string  `json:"after,omitempty"` // "12,13_2", "any:12"
	AfterFailure []string  `json:"after_failure,omitempty"`
	CPUs         int       `json:"cpus,omitempty"`         // that it may use at once; 0: all
	MemoryBytes  int64     `json:"memory_bytes,omitempty"` // that it may use; 0: all
	Begin        time.Time `json:"begin,omitzero"`
	Hold         bool      `json:"hold,omitempty"`
	// Service has it kept up until it is cancelled; nil: it is a job, which ends.
	Service *JobService `json:"service,omitempty"`

	TimeoutSeconds float64 `json:"timeout_seconds,omitempty"`
	Retries        int     `json:"retries,omitempty"`
	// RetryOn are the causes for which it is run again: exit, signal, oom, xid, gpu_lost, lost, timeout. Empty: all of
	// these but timeout.
	RetryOn       []string `json:"retry_on,omitempty"`
	Signal        string   `json:"signal,omitempty"` // before the time-out: USR1
	SignalSeconds float64  `json:"signal_seconds,omitempty"`
	KillLeftovers bool     `json:"kill_leftovers,omitempty"`
	// Secrets are variables by their names, whose values are kept apart until the job has ended, and shown nowhere.
	Secrets map[string][]byte `json:"secrets,omitempty"`
	// Notify are names of the instance's own file who are told of its end, once.
	Notify        []string `json:"notify,omitempty"`
	LogLimitBytes int64    `json:"log_limit_bytes,omitempty"`

	Array     string   `json:"array,omitempty"`      // "0-9%4"
	Params    []string `json:"params,omitempty"`     // "lr=0.1,0.01"
	ParamFile string   `json:"param_file,omitempty"` // the file itself: CSV
}

// JobService is what there is to say of a service.
type JobService struct {
	Port   int    `json:"port"`                  // of TCP, on which it listens on the instance
	Health string `json:"health_path,omitempty"` // that is asked by HTTP; empty: that it listens is enough
}

// Health is how a service is.
type Health string

// What there is. One whose program does not run is failing.
const (
	HealthStarting Health = "starting" // it has not answered yet
	HealthOK       Health = "ok"
	HealthFailing  Health = "failing" // it has answered before, and does not now; or it has ended
)

// Job is a job, an array, or an element of one.
type Job struct {
	ID      *string  `json:"id"` // null while it waits for a stopped instance
	UUID    string   `json:"uuid"`
	Name    string   `json:"name"`
	Command []string `json:"command"`
	State   JobState `json:"state"`

	ExitCode *int     `json:"exit_code"`
	Signal   string   `json:"signal,omitempty"`
	Cause    string   `json:"cause,omitempty"`
	By       string   `json:"by,omitempty"` // who asked for its end
	Hint     string   `json:"hint,omitempty"`
	Message  string   `json:"message,omitempty"` // of a failure
	Warnings []string `json:"warnings,omitempty"`

	Service *JobService `json:"service,omitempty"` // nil: it is none
	Health  Health      `json:"health,omitempty"`  // of a service that is not done

	Reason           string    `json:"reason,omitempty"` // why it waits, or why a service that runs is not well
	WaitingFor       []string  `json:"waiting_for,omitempty"`
	EstimatedStartAt time.Time `json:"estimated_start_at,omitzero"`

	// As JobProgress has them, of a job that runs.
	ProgressPercent *float64     `json:"progress_percent"`
	ProgressOf      string       `json:"progress_of,omitempty"`
	ProgressFrom    ProgressFrom `json:"progress_from,omitempty"`
	ProgressRate    float64      `json:"progress_rate,omitempty"`
	ProgressUnit    string       `json:"progress_unit,omitempty"`
	EstimatedEndAt  time.Time    `json:"estimated_end_at,omitzero"`

	Attempt    int      `json:"attempt"`
	Supervised bool     `json:"supervised"` // false: it runs, and its shim is gone
	Left       []string `json:"left,omitempty"`
	Priority   int      `json:"priority"`
	Order      int64    `json:"order"` // of two that wait with the same priority the lower one goes first
	Group      string   `json:"group,omitempty"`
	After      []string `json:"after,omitempty"`
	ArrayID    *int64   `json:"array_id,omitempty"`
	ArrayIndex *int     `json:"array_index,omitempty"`
	Array      string   `json:"array,omitempty"`    // of an array: its elements, "0-9%4"
	Elements   *Tally   `json:"elements,omitempty"` // of an array

	Requested   JobRequested `json:"requested"`
	SubmittedBy string       `json:"submitted_by,omitempty"`
	SubmittedAt time.Time    `json:"submitted_at"`
	StartedAt   time.Time    `json:"started_at,omitzero"`
	EndedAt     time.Time    `json:"ended_at,omitzero"`

	Secrets []string `json:"secrets,omitempty"` // the names
	// Notify is who is told of its end.
	Notify []string `json:"notify,omitempty"`

	Workdir     string   `json:"workdir"`
	Code        *JobCode `json:"code,omitempty"` // nil: its folder is in no git repository, or it was not looked at yet
	LogPath     string   `json:"log_path,omitempty"`
	LogBytes    int64    `json:"log_bytes"`
	LogCutBytes int64    `json:"log_cut_bytes"`
	// LastLines is the end of the log of one that failed.
	LastLines string `json:"last_lines,omitempty"`

	// GPUs are the indices of those that its newest run has or had, by the order of the PCI bus.
	GPUs     []int    `json:"gpus,omitempty"`
	GPUUUIDs []string `json:"gpu_uuids,omitempty"`
	// GPUSeconds is how long its newest run has or had its GPUs, times their number; a share of one counts whole.
	GPUSeconds float64 `json:"gpu_seconds"`
	// PeakGPUMemoryBytes is the most memory that its processes had on all its GPUs together, as far as it was seen: they
	// are looked at every 2 s. GPUEnergyJoules is what those GPUs took that it had for itself.
	PeakGPUMemoryBytes int64   `json:"peak_gpu_memory_bytes,omitempty"`
	GPUEnergyJoules    float64 `json:"gpu_energy_joules,omitempty"`

	CPUSeconds      float64 `json:"cpu_seconds"`
	PeakMemoryBytes int64   `json:"peak_memory_bytes"`
	// CostUSD is the instance's price for the time of the newest run, whatever else ran then; null: it is not known. The
	// client fills it in: an agent knows no prices.
	CostUSD *float64 `json:"cost_usd"`

	// Attempts are the runs before the newest one, oldest first, where one job is shown; the last 20 of them.
	Attempts []JobAttempt `json:"attempts,omitempty"`

	Seq int64 `json:"seq"` // of the last change
}

// JobAttempt is an earlier run of a job.
type JobAttempt struct {
	Attempt   int       `json:"attempt"`
	StartedAt time.Time `json:"started_at,omitzero"` // zero: it was not begun
	EndedAt   time.Time `json:"ended_at,omitzero"`   // zero: it is not known
	ExitCode  *int      `json:"exit_code"`           // null: it has none, or that is not known
	Signal    string    `json:"signal,omitempty"`
	LogBytes  int64     `json:"log_bytes"`
}

// Tally counts the elements of an array.
type Tally struct {
	All       int `json:"all"`
	Waiting   int `json:"waiting"`
	Running   int `json:"running"`
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"` // or lost, or timed out
	Cancelled int `json:"cancelled"`
}

// JobRequested is what a job was asked to get.
type JobRequested struct {
	GPUs           *int     `json:"gpus,omitempty"`
	GPUMemoryBytes int64    `json:"gpu_memory_bytes,omitempty"`
	GPUIDs         string   `json:"gpu_ids,omitempty"`
	Ranks          int      `json:"ranks,omitempty"`
	Image          string   `json:"image,omitempty"`
	Exclusive      bool     `json:"exclusive,omitempty"`
	CPUs           int      `json:"cpus,omitempty"`
	MemoryBytes    int64    `json:"memory_bytes,omitempty"`
	TimeoutSeconds float64  `json:"timeout_seconds,omitempty"`
	Retries        int      `json:"retries,omitempty"`
	RetryOn        []string `json:"retry_on,omitempty"`
}

// JobState is where a job stands.
type JobState string

// The states; those from JobSucceeded on are ends.
const (
	JobQueued    JobState = "queued"
	JobHeld      JobState = "held"
	JobPreparing JobState = "preparing"
	JobRunning   JobState = "running"
	JobPaused    JobState = "paused"
	JobStopping  JobState = "stopping"
	JobSucceeded JobState = "succeeded"
	JobFailed    JobState = "failed"
	JobCancelled JobState = "cancelled"
	JobTimedOut  JobState = "timed_out"
	JobLost      JobState = "lost"
)

// Done reports that nothing of the job runs or will run.
func (s JobState) Done() bool {
	switch s {
	case JobSucceeded, JobFailed, JobCancelled, JobTimedOut, JobLost:
		return true
	}
	return false
}

// JobPage is some of the jobs, newest first.
type JobPage struct {
	Jobs []Job `json:"jobs"`
	// Next asks for the page behind this one; empty: there is none.
	Next string `json:"next,omitempty"`
}

// JobQuery is which jobs are asked for. An empty field asks for nothing.
type JobQuery struct {
	States []JobState
	Since  time.Time // submitted, or ended, not before
	Text   string
	Array  string // its elements; empty: jobs and arrays
	// Next asks for those that wait, by their turn: what starts next comes first. Since, Text and Array count for nothing.
	Next bool
	// Services asks for services, which else are left out.
	Services bool
	Page     string // JobPage.Next of the page before
	Limit    int    // at most; 0: 100
}

// JobLogPart comes before each piece of a job's log, as a line of JSON: that many bytes follow it. The last one has
// End, and no bytes.
type JobLogPart struct {
	At    int64    `json:"at"` // offset in the log; a gap to the part before was cut
	Bytes int      `json:"bytes"`
	End   bool     `json:"end,omitempty"`
	State JobState `json:"state,omitempty"` // of the job, at the end
	Run   int      `json:"run"`             // whose log it is: the number of the attempt
}

// JobChanges are the jobs of an instance that have changed since a change number. Who watches a queue asks at first
// without Epoch, reads the pages that it shows, and then asks for what came after Seq.
type JobChanges struct {
	// Epoch names the journal that numbers the changes; NoJobs: there is no queue yet.
	Epoch string `json:"epoch"`
	Seq   int64  `json:"seq"` // up to this one all is told
	// Anew says that the changes can't be told one by one: what was read before is to be read again.
	Anew bool  `json:"anew,omitempty"`
	Jobs []Job `json:"jobs,omitempty"`
}

// NoJobs is the epoch of an instance that never had a job.
const NoJobs = "none"
