package api

import "time"

// State is the state of an instance, as the command line's contract names them.
type State string

// The states of an instance.
const (
	StateCreating     State = "creating"
	StateStarting     State = "starting"
	StateSettingUp    State = "setting_up"
	StateRunning      State = "running"
	StateRestarting   State = "restarting"
	StateResizing     State = "resizing"
	StateStopping     State = "stopping"
	StateStopped      State = "stopped"
	StateDeleting     State = "deleting"
	StateCreateFailed State = "create_failed"
	StateSetupFailed  State = "setup_failed"
	StateUnusable     State = "unusable"
	StateUnknown      State = "unknown"
)

// States lists every state in the order in which a fleet is usually read.
var States = []State{StateRunning, StateStarting, StateCreating, StateSettingUp, StateRestarting, StateResizing,
	StateStopping, StateStopped, StateDeleting, StateCreateFailed, StateSetupFailed, StateUnusable, StateUnknown}

// Changing reports whether an instance in this state is on its way to another.
func (s State) Changing() bool {
	switch s {
	case StateCreating, StateStarting, StateSettingUp, StateRestarting, StateResizing, StateStopping, StateDeleting:
		return true
	}
	return false
}

// GPU is one GPU of an instance or a size.
type GPU struct {
	Name        string `json:"name"`
	MemoryBytes int64  `json:"memory_bytes"`
	// Unified says that the memory is the host's: the GPU has none of its own.
	Unified bool `json:"unified_memory,omitempty"`
}

// Instance is one workstation, as `berth show --json` prints it. Times are UTC; a nil money field
// is unknown, which is not the same as free.
type Instance struct {
	Name              string            `json:"name"`
	ID                string            `json:"id"`
	Backend           string            `json:"backend"`
	State             State             `json:"state"`
	StateReason       string            `json:"state_reason"`
	StateSince        time.Time         `json:"state_since"`
	Size              string            `json:"size"`
	Image             string            `json:"image,omitempty"`
	Region            string            `json:"region"`
	Owner             string            `json:"owner"`
	AssignedTo        string            `json:"assigned_to"`
	Mine              bool              `json:"mine"`             // of who asks
	Denied            []Action          `json:"denied,omitempty"` // what who asks may not do with it
	Adopted           bool              `json:"adopted"`
	CreatedAt         time.Time         `json:"created_at"`
	UpdatedAt         time.Time         `json:"updated_at"`
	ObservedAt        *time.Time        `json:"observed_at"`
	Address           string            `json:"address"`
	Port              int               `json:"port"`
	User              string            `json:"user"`
	SSHEnabled        bool              `json:"ssh_enabled"`
	GPUs              []GPU             `json:"gpus"`
	VCPUs             int               `json:"vcpus"`
	MemoryBytes       int64             `json:"memory_bytes"`
	DiskBytes         int64             `json:"disk_bytes"`
	PriceUSDPerHour   *float64          `json:"price_usd_per_hour"`
	RunningUSDPerHour *float64          `json:"running_usd_per_hour"`
	StoppedUSDPerHour *float64          `json:"stopped_usd_per_hour"`
	CostTodayUSD      *float64          `json:"cost_today_usd"`
	IdleSince         *time.Time        `json:"idle_since,omitempty"`
	Workdir           string            `json:"workdir,omitempty"`
	Profiles          []string          `json:"profiles,omitempty"` // that it was set up with
	Subnet            string            `json:"subnet,omitempty"`
	Account           string            `json:"account,omitempty"` // of the provider, in which it was made
	ProviderID        string            `json:"provider_id,omitempty"`
	ProviderName      string            `json:"provider_name,omitempty"`
	Tags              map[string]string `json:"tags"`
	Notes             []string          `json:"notes,omitempty"` // what is not promised or lost here, in plain words
	Capabilities      Capabilities      `json:"capabilities"`
	JobsKept          int               `json:"jobs_kept,omitempty"` // that wait here until it runs
	Agent             *AgentStatus      `json:"agent,omitempty"`
	Operation         *Operation        `json:"operation,omitempty"` // the one under way, or the last one if it failed
}

// Capabilities is what can be done with an instance or a backend. Why explains, by capability name,
// each one that is missing.
type Capabilities struct {
	Create  bool `json:"create"`
	Adopt   bool `json:"adopt"`
	Start   bool `json:"start"`
	Stop    bool `json:"stop"`
	Restart bool `json:"restart"`
	Delete  bool `json:"delete"` // false for an adopted machine: rm only forgets it
	Console bool `json:"console"`
	Assign  bool `json:"assign"`
	Exec    bool `json:"exec"`
	List    bool `json:"list"`
	Regions bool `json:"regions"` // create takes a region
	Disk    bool `json:"disk"`    // create takes the size of the disk
	SSH     bool `json:"ssh"`     // create can open SSH to others

	Subnets   bool `json:"subnets"`   // create takes a network (subnet)
	PublicIP  bool `json:"public_ip"` // create can give an address that is reached from outside
	Profiles  bool `json:"profiles"`  // set-up profiles can be applied: the user has root on the instance
	Snapshots bool `json:"snapshots"`
	Clone     bool `json:"clone"`
	Build     bool `json:"build"` // images can be made from an instance

	Why map[string]string `json:"why,omitempty"`
}

// AgentStatus is what the workspace knows of an instance's agent. State is "ready", "connecting",
// "unavailable" (exec and ssh go over plain SSH; Reason says why) or "needs_you".
type AgentStatus struct {
	State       string `json:"state"`
	Reason      string `json:"reason,omitempty"`
	Version     string `json:"version,omitempty"`
	Capability  int    `json:"capability,omitempty"`   // 0: not known
	AfterReboot string `json:"after_reboot,omitempty"` // how the agent comes back, or what will not happen
	Transport   string `json:"transport,omitempty"`    // unix, streamlocal, dial (yamux over exec), ssh (no agent)

	// ClockAhead is by how many seconds the instance's clock is ahead of the service's (negative: behind), from 2 on.
	ClockAhead float64 `json:"clock_ahead_seconds,omitempty"`

	Environment ShellEnvironment `json:"environment,omitzero"` // that commands run with; zero: not known

	Jobs JobCounts `json:"jobs,omitzero"` // when it was last asked
}

// OpState is the state of an operation.
type OpState string

// The states of an operation.
const (
	OpPending   OpState = "pending"
	OpRunning   OpState = "running"
	OpSucceeded OpState = "succeeded"
	OpFailed    OpState = "failed"
	OpCancelled OpState = "cancelled"
	// OpSkipped is the state of a step that is not run: another build began the operation, with other steps.
	OpSkipped OpState = "skipped"
)

// Done reports whether the operation has ended.
func (s OpState) Done() bool {
	return s == OpSucceeded || s == OpFailed || s == OpCancelled || s == OpSkipped
}

// Step is one step of an operation. State is an OpState; Message is what it is doing or why it failed.
// Parts are the steps of a set-up, where it is one. DoneBytes of TotalBytes (0: not known) are how
// far a transfer is.
type Step struct {
	Name      string     `json:"name"`
	Title     string     `json:"title"`
	State     OpState    `json:"state"`
	StartedAt *time.Time `json:"started_at,omitempty"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	Message   string     `json:"message,omitempty"`

	Parts      []StepPart `json:"parts,omitempty"`
	DoneBytes  int64      `json:"done_bytes,omitempty"`
	TotalBytes int64      `json:"total_bytes,omitempty"`
}

// StepPart is a part of a step, as Step.
type StepPart struct {
	Name      string     `json:"name"`
	Title     string     `json:"title"`
	State     OpState    `json:"state"`
	StartedAt *time.Time `json:"started_at,omitempty"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	Message   string     `json:"message,omitempty"`
}

// Operation is a durable change of one instance: create, adopt, start, stop, restart, delete, setup,
// snapshot, restore or image.
type Operation struct {
	ID         string     `json:"id"`
	Kind       string     `json:"kind"`
	InstanceID string     `json:"instance_id"`
	Instance   string     `json:"instance"`
	Actor      string     `json:"actor"`               // the name of who asked for it
	Principal  string     `json:"principal,omitempty"` // their id: local:1000; empty in what older builds began
	State      OpState    `json:"state"`
	Steps      []Step     `json:"steps"`
	Error      *Error     `json:"error,omitempty"`
	Warnings   []string   `json:"warnings,omitempty"` // what was left undone although it succeeded
	CreatedAt  time.Time  `json:"created_at"`
	EndedAt    *time.Time `json:"ended_at,omitempty"`
}

// Event is one thing that happened. Level is "info", "warn" or "error".
type Event struct {
	Seq         int64     `json:"seq"`
	Time        time.Time `json:"time"`
	Kind        string    `json:"kind"` // operation.step, operation.done, instance.state, agent.…
	Level       string    `json:"level"`
	InstanceID  string    `json:"instance_id,omitempty"`
	Instance    string    `json:"instance,omitempty"`
	OperationID string    `json:"operation_id,omitempty"`
	Actor       string    `json:"actor,omitempty"`     // the name of who did it
	Principal   string    `json:"principal,omitempty"` // their id
	Message     string    `json:"message"`
}

// Size is a VM type of a backend. A nil price is unknown.
type Size struct {
	Name        string   `json:"name"`
	Backend     string   `json:"backend"`
	Description string   `json:"description,omitempty"`
	VCPUs       int      `json:"vcpus"`
	MemoryBytes int64    `json:"memory_bytes"`
	DiskBytes   int64    `json:"disk_bytes,omitempty"`
	GPUs        []GPU    `json:"gpus"`
	Family      string   `json:"family,omitempty"`
	PriceUSD    *float64 `json:"price_usd_per_hour"`
	Default     bool     `json:"default,omitempty"`
}

// Image is what an instance can be made from. Origin is "catalogue" (Berth's), "user" (images.toml of the
// user's) or "built" (made from an instance by berth image build).
type Image struct {
	Name        string     `json:"name"`
	Backend     string     `json:"backend"`
	Description string     `json:"description,omitempty"`
	Arch        string     `json:"arch,omitempty"` // as Go names it
	User        string     `json:"user,omitempty"` // the login user
	Default     bool       `json:"default,omitempty"`
	Origin      string     `json:"origin,omitempty"`
	Source      string     `json:"source,omitempty"` // URL, path, or the instance that it was built from
	SHA256      string     `json:"sha256,omitempty"`
	SizeBytes   int64      `json:"size_bytes,omitempty"` // where it is cached
	Cached      bool       `json:"cached,omitempty"`     // it is on the backend's side already
	Profiles    []string   `json:"profiles,omitempty"`   // that it was set up with
	BuiltAt     *time.Time `json:"built_at,omitempty"`
}

// Snapshot is an earlier state of an instance's disk.
type Snapshot struct {
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
	Memory      bool      `json:"memory,omitempty"`  // taken while it ran, its memory included
	Current     bool      `json:"current,omitempty"` // the one that the disk goes on from
}

// BackendInfo describes a backend to clients. Error is set where it can't be used, and says why.
type BackendInfo struct {
	Name         string       `json:"name"`
	Title        string       `json:"title"`
	Whoami       string       `json:"whoami,omitempty"`
	Capabilities Capabilities `json:"capabilities"`
	Error        *Error       `json:"error,omitempty"`
}

// CreateRequest asks for a new instance. Empty fields take the backend's or the configuration's default.
type CreateRequest struct {
	Name      string            `json:"name"`
	Backend   string            `json:"backend,omitempty"`
	Size      string            `json:"size,omitempty"`
	Image     string            `json:"image,omitempty"`
	Region    string            `json:"region,omitempty"`
	DiskBytes int64             `json:"disk_bytes,omitempty"`
	SSH       *bool             `json:"ssh,omitempty"`
	Setup     string            `json:"setup,omitempty"`    // text of a set-up script run once on the fresh instance
	OnStart   string            `json:"on_start,omitempty"` // text of a script run at each start
	Profiles  []string          `json:"profiles,omitempty"` // set-up profiles, in order
	Subnet    string            `json:"subnet,omitempty"`
	PublicIP  bool              `json:"public_ip,omitempty"`
	From      string            `json:"from,omitempty"` // the instance to clone
	For       string            `json:"for,omitempty"`
	Share     string            `json:"share,omitempty"` // folder of the file share, where the backend has none of its own
	Tags      map[string]string `json:"tags,omitempty"`
	// A repeated request with the same id returns the first operation.
	RequestID string `json:"request_id,omitempty"`
}

// AdoptRequest asks to take in a machine that exists: Target is user@host[:port], or Local is true
// for this very host. HostKey pins the machine's host key by its fingerprint (SHA256:…).
type AdoptRequest struct {
	Name      string            `json:"name"`
	Target    string            `json:"target,omitempty"`
	Local     bool              `json:"local,omitempty"`
	HostKey   string            `json:"host_key,omitempty"`
	Share     string            `json:"share,omitempty"`     // an existing folder on the instance
	Transport string            `json:"transport,omitempty"` // "" (own SSH client) or "openssh"
	Tags      map[string]string `json:"tags,omitempty"`
	RequestID string            `json:"request_id,omitempty"` // as in CreateRequest
}

// SetupRequest asks to set up an instance: to go on with the set-up that failed, to forget that one, to apply
// profiles, or to run a script once.
type SetupRequest struct {
	Resume   bool     `json:"resume,omitempty"`
	Forget   bool     `json:"forget,omitempty"` // give up what failed; what its steps did stays
	Profiles []string `json:"profiles,omitempty"`
	Setup    string   `json:"setup,omitempty"` // text of a script

	RequestID string `json:"request_id,omitempty"` // as in CreateRequest
}

// SnapshotRequest asks to take a snapshot, or to go back to it.
type SnapshotRequest struct {
	Name      string `json:"name"`
	RequestID string `json:"request_id,omitempty"` // as in CreateRequest
}

// ImageRequest asks for an image made from an instance.
type ImageRequest struct {
	Name        string `json:"name"`
	From        string `json:"from"` // the instance
	Description string `json:"description,omitempty"`
	RequestID   string `json:"request_id,omitempty"` // as in CreateRequest
}

// ActionRequest accompanies start, stop, restart and delete.
type ActionRequest struct {
	Force bool `json:"force,omitempty"`
	// WhenIdle has a stop or restart wait until no job runs; no other one is started meanwhile.
	WhenIdle bool `json:"when_idle,omitempty"`
}

// JoinRequest asks that this home becomes one of the workspace with that id. KeyPath, if not empty, is a file on this
// host with the key of the home that made its machines; it is copied.
type JoinRequest struct {
	ID      string `json:"id"`
	KeyPath string `json:"key_path,omitempty"`
}

// Joined says what is seen after joining a workspace.
type Joined struct {
	ID       string   `json:"id"`
	Former   []string `json:"former"`   // the workspaces that this home belonged to before: their machines are seen too
	Imported []string `json:"imported"` // names here of the machines that other homes made
}

// Info describes the daemon that answers. Capability is version.Capability.
type Info struct {
	Version     string    `json:"version"`
	Built       time.Time `json:"built"`
	Capability  int       `json:"capability"`
	PID         int       `json:"pid"`
	Home        string    `json:"home"`
	WorkspaceID string    `json:"workspace_id"`
	HomeID      string    `json:"home_id"`
	LogPath     string    `json:"log_path"`
	StartedAt   time.Time `json:"started_at"`
	ReadOnly    bool      `json:"read_only"`
	Instances   int       `json:"instances"`
	Clients     int       `json:"clients"`
	Operations  int       `json:"operations"`
	Questions   int       `json:"questions"` // that wait for an answer
}

// Change is one line of the watch stream. Exactly one field is set: a batch of the snapshot (in name
// order, the last with Complete), a changed instance, the id of a removed one, an event, an operation.
type Change struct {
	Snapshot  []Instance `json:"snapshot,omitempty"`
	Complete  bool       `json:"complete,omitempty"`
	Instance  *Instance  `json:"instance,omitempty"`
	Removed   string     `json:"removed,omitempty"`
	Event     *Event     `json:"event,omitempty"`
	Operation *Operation `json:"operation,omitempty"`
}

// Question is something that only the user can answer. Kind is "confirm" (answer yes or no),
// "secret" (a passphrase or password, not echoed) or "text".
type Question struct {
	ID       string `json:"id"`
	Kind     string `json:"kind"`
	Instance string `json:"instance,omitempty"`
	Title    string `json:"title"`
	Text     string `json:"text"`
	// Ended: it needs no answer any more. Nothing else is said of it than its id.
	Ended bool `json:"ended,omitempty"`
}

// Answer answers a Question. Refused means that the user does not want to answer.
type Answer struct {
	Value   string `json:"value"`
	Refused bool   `json:"refused,omitempty"`
}

// Check is one line of `berth doctor`. Status is "ok", "warn", "fail" or "info"; Fix says what to do.
// OrphanID is set for a leftover that can be removed.
type Check struct {
	Area     string `json:"area"`
	Name     string `json:"name"`
	Status   string `json:"status"`
	Message  string `json:"message"`
	Fix      string `json:"fix,omitempty"`
	OrphanID string `json:"orphan_id,omitempty"`
}
