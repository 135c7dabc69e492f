package api

import "time"

// AgentInfo is what an agent says of itself and its host.
type AgentInfo struct {
	Version      string    `json:"version"`
	Built        time.Time `json:"built"`
	Hash         string    `json:"hash"` // SHA-256 of its binary
	Capability   int       `json:"capability"`
	PID          int       `json:"pid"`
	Now          time.Time `json:"now"` // the instance's clock, for the daemon to measure its offset
	StartedAt    time.Time `json:"started_at"`
	BootID       string    `json:"boot_id"`
	MachineID    string    `json:"machine_id"`
	Hostname     string    `json:"hostname"`
	OS           string    `json:"os"`
	Arch         string    `json:"arch"`
	Kernel       string    `json:"kernel"`
	User         string    `json:"user"`
	Home         string    `json:"home"`
	Shell        string    `json:"shell"`
	Workdir      string    `json:"workdir"`
	StateDir     string    `json:"state_dir"`
	Socket       string    `json:"socket"`
	VCPUs        int       `json:"vcpus"`
	MemoryBytes  int64     `json:"memory_bytes"`
	DiskBytes    int64     `json:"disk_bytes"` // of the file system that holds Home
	GPUs         []GPU     `json:"gpus"`
	AfterReboot  string    `json:"after_reboot"`
	LastActivity time.Time `json:"last_activity"` // of exec, terminals, GPUs; Berth's own calls do not count
	Execs        int       `json:"execs"`
	Terminals    int       `json:"terminals"`
	Jobs         JobCounts `json:"jobs,omitzero"`
	Services     int       `json:"services,omitempty"` // that run: they are no work by themselves
	Warnings     []string  `json:"warnings,omitempty"`
	Homes        []HomeUse `json:"homes,omitempty"` // that use the agent, as far as they say so

	Environment ShellEnvironment `json:"environment,omitzero"` // that commands run with; zero: not captured yet

	GPUSharing GPUSharing `json:"gpu_sharing,omitzero"`
}

// JobCounts are how many jobs run and how many wait; each element of an array is one.
type JobCounts struct {
	Running int `json:"running"`
	Waiting int `json:"waiting"`
}

// DrainRequest has an instance's queue start nothing, for an instance that is about to stop.
type DrainRequest struct {
	// HoldSeconds is how long it starts nothing, unless it is asked again; 0: it goes on at once. So a queue goes on
	// though whoever wanted the stop is gone.
	HoldSeconds float64 `json:"hold_seconds"`
	// End ends what runs: what allows it, by its retries, waits for another run, the rest is cancelled.
	End bool `json:"end,omitempty"`
	// WaitSeconds is how long the answer may wait until nothing runs, up to 25.
	WaitSeconds float64 `json:"wait_seconds,omitempty"`
}

// ShellEnvironment says where the environment comes from that commands on an instance run with.
type ShellEnvironment struct {
	CapturedAt time.Time `json:"captured_at"`
	Shell      string    `json:"shell"`           // the user's shell, which was asked
	How        string    `json:"how"`             // how it answered: ShellInteractive, ShellLogin, ShellPlain
	Error      string    `json:"error,omitempty"` // why it is not that of a login and interactive shell
}

// How the environment was captured: from a login and interactive shell, as terminals have it; from a login
// shell that is not interactive; or not at all, so that it is a plain one.
const (
	ShellInteractive = "interactive"
	ShellLogin       = "login"
	ShellPlain       = "plain"
)

// ExecRequest is the first frame of an exec stream. Argv is run exactly, without a shell, in Dir
// (empty: the working directory), with the environment that the agent captured from a login and interactive shell,
// changed by Env ("K=V"). With TTY it gets a terminal of the given size and Stderr frames are not sent. The stream
// ends when the last process that holds the output open has closed it; with NoLinger 200 ms after the command itself.
// Alive promises an Alive frame every wire.AliveEvery, and takes Lingers frames. Argv, Dir and Env are any bytes; see
// ExecBytes.
type ExecRequest struct {
	Argv []string `json:"argv"`
	Dir  string   `json:"dir,omitempty"`
	Env  []string `json:"env,omitempty"`
	TTY  bool     `json:"tty,omitempty"`
	Term string   `json:"term,omitempty"`
	Rows uint16   `json:"rows,omitempty"`
	Cols uint16   `json:"cols,omitempty"`

	NoLinger bool `json:"no_linger,omitempty"`
	Alive    bool `json:"alive,omitempty"`

	Bytes *ExecBytes `json:"bytes,omitempty"` // on the wire only
}

// ExecState is what has become of a command whose stream broke.
type ExecState struct {
	PID   int    `json:"pid"`
	State string `json:"state"` // ExecRuns, ExecEnded, ExecUnknown
	// SameAgent: the agent that answers began it. HungUp: it has seen the stream's end, and told the command to end
	// (SIGHUP, and SIGKILL after a while).
	SameAgent bool `json:"same_agent"`
	HungUp    bool `json:"hung_up"`
}

// The states of a command.
const (
	ExecRuns    = "runs"
	ExecEnded   = "ended"
	ExecUnknown = "unknown" // it can't be told, in another name space, say
)

// TerminalRequest is the first frame of a terminal stream. ID attaches to that terminal. Without
// ID, New opens one; otherwise the last detached one is attached, or one is opened. Shared mirrors
// a terminal that another client is attached to instead of passing it over.
type TerminalRequest struct {
	ID     string   `json:"id,omitempty"`
	New    bool     `json:"new,omitempty"`
	Shared bool     `json:"shared,omitempty"`
	Argv   []string `json:"argv,omitempty"` // empty: the user's login shell
	Dir    string   `json:"dir,omitempty"`
	Env    []string `json:"env,omitempty"`
	Term   string   `json:"term,omitempty"`
	Rows   uint16   `json:"rows,omitempty"`
	Cols   uint16   `json:"cols,omitempty"`

	Home string `json:"-"` // the id of the home that asks; the stream's header has it
}

// Terminal is a persistent shell on an instance.
type Terminal struct {
	ID           string    `json:"id"`
	PID          int       `json:"pid"`
	Command      string    `json:"command"`
	Title        string    `json:"title,omitempty"`
	StartedAt    time.Time `json:"started_at"`
	LastActivity time.Time `json:"last_activity"`
	Attached     int       `json:"attached"` // clients attached now
	Rows         uint16    `json:"rows"`
	Cols         uint16    `json:"cols"`
	Own          bool      `json:"own,omitempty"` // it was last attached from the home that asks
}

// StopRequest asks an agent to end. With End it first ends every process that it supervises, gently
// and then by force; without, terminals go on and a later agent finds them.
type StopRequest struct {
	End          bool    `json:"end,omitempty"`
	GraceSeconds float64 `json:"grace_seconds,omitempty"`
}
