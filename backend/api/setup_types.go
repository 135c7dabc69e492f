package api

import "time"

// SetupPlan is what an agent sets up: its steps, in order. The agent keeps it, runs it whether or not
// anybody is connected, and goes on with it after a reboot. ID names it: a plan that the agent has is
// not begun a second time.
type SetupPlan struct {
	ID    string      `json:"id"`
	Steps []SetupStep `json:"steps"`
	// MayReboot: the agent may restart the machine after steps that need it. Without it such a step waits
	// until somebody has, and says so as an error.
	MayReboot bool `json:"may_reboot,omitempty"`
	// Prelude is put before the check and script of each step that wants it.
	Prelude string `json:"prelude,omitempty"`
}

// SetupStep is one repeatable part of a set-up.
type SetupStep struct {
	Name   string   `json:"name"`            // unique in its plan: "cuda.toolkit"
	Title  string   `json:"title"`           // for people: "CUDA toolkit 12.6"
	Check  string   `json:"check,omitempty"` // sh script: ends with 0 if there is nothing to do
	Script string   `json:"script"`          // sh script, run with -e
	Root   bool     `json:"root,omitempty"`  // run by sudo -n
	Env    []string `json:"env,omitempty"`   // K=V
	// Prelude: the plan's prelude stands before check and script.
	Prelude bool `json:"prelude,omitempty"`
	// Once: it is not run again after it was cut off (by a reboot, say); it fails then. Other steps are.
	Once bool `json:"once,omitempty"`
	// Reboot: the machine must restart after the step; the agent restarts it and goes on.
	Reboot bool `json:"reboot,omitempty"`
	// LimitSeconds is how long it may take; 0 is an hour.
	LimitSeconds float64 `json:"limit_seconds,omitempty"`
}

// SetupStatus is how far a set-up is. State is running, succeeded, failed or cancelled. Revision changes
// with each change. Log is the last output of the step that runs or failed, at most 4 KiB. Error says why
// it failed: CodeForbidden where root is needed and can't be had, CodeConflict where the machine must be
// restarted first, else CodeFailed.
type SetupStatus struct {
	ID        string     `json:"id"`
	State     OpState    `json:"state"`
	Revision  int64      `json:"revision"`
	Steps     []Step     `json:"steps"`
	Rebooting bool       `json:"rebooting,omitempty"`
	Log       string     `json:"log,omitempty"`
	LogPath   string     `json:"log_path,omitempty"` // on the instance
	Error     *Error     `json:"error,omitempty"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
}

// Profile is a set-up profile: what an instance gets, as data.
type Profile struct {
	Name        string      `json:"name"`
	Title       string      `json:"title"`
	Description string      `json:"description,omitempty"`
	Origin      string      `json:"origin"` // "built-in" or the file that it was read from
	Needs       []string    `json:"needs,omitempty"`
	Conflicts   []string    `json:"conflicts,omitempty"`
	Arch        []string    `json:"arch,omitempty"` // as Go names them: amd64, arm64; empty: any
	OS          []string    `json:"os,omitempty"`   // ID or ID-VERSION of os-release: debian-12; empty: any
	Variables   []Variable  `json:"variables,omitempty"`
	Steps       []SetupStep `json:"steps,omitempty"`
	Promises    []Promise   `json:"promises,omitempty"`
	Errors      []string    `json:"errors,omitempty"` // why it can't be used; only with one of the user's
}

// Variable is what can be chosen where a profile is named: "cuda=12.4" sets the variable version of the
// profile cuda, "conda:env=ml" any other. Its steps have it as CUDA_VERSION, CONDA_ENV and so on.
type Variable struct {
	Name    string   `json:"name"`
	Default string   `json:"default"`
	Values  []string `json:"values,omitempty"` // what can be chosen; empty: any plain word
	Help    string   `json:"help,omitempty"`
	// Required: it has no default and must be set.
	Required bool `json:"required,omitempty"`
}

// Promise is a component that a profile promises, with the version it promises (a prefix: "12.6" is kept
// by 12.6.3; empty: any).
type Promise struct {
	Component string `json:"component"`
	Version   string `json:"version,omitempty"`
	Profile   string `json:"profile,omitempty"`
}

// Inventory is what is really installed on an instance, read from it.
type Inventory struct {
	Instance   string      `json:"instance,omitempty"`
	ReadAt     time.Time   `json:"read_at"`
	System     string      `json:"system"`            // "Debian GNU/Linux 12 (bookworm)"
	Release    string      `json:"release,omitempty"` // ID-VERSION of os-release: "debian-12"
	Kernel     string      `json:"kernel"`
	Arch       string      `json:"arch"`
	Components []Component `json:"components"`
	Conda      []Conda     `json:"conda_environments"`
	// Pythons that are not conda's: the system's, virtual environments
	Python  []Conda      `json:"python_environments"`
	Kernels []KernelSpec `json:"kernels"`
	Errors  []string     `json:"errors,omitempty"` // what could not be read, and why
	// components of which it is not known for that; "packages" and "kernel:" stand for all of these
	Unread []string `json:"unread,omitempty"`
	Drift  []Drift  `json:"drift"`
}

// Component is one thing that is installed. Version is empty where it does not say.
type Component struct {
	Name    string `json:"name"` // the Component of a Promise: "cuda"
	Title   string `json:"title"`
	Version string `json:"version"`
	Path    string `json:"path,omitempty"`
	Note    string `json:"note,omitempty"`
}

// Conda is a conda environment, or another Python, with its main packages (name → version).
type Conda struct {
	Name     string            `json:"name"`
	Path     string            `json:"path"`
	Python   string            `json:"python,omitempty"`
	Packages map[string]string `json:"packages"`
}

// KernelSpec is a Jupyter kernel that is installed.
type KernelSpec struct {
	Name     string `json:"name"`
	Title    string `json:"title"`
	Language string `json:"language"`
	Path     string `json:"path"`
}

// Drift is a promise that is not kept. Kind is "missing" or "version".
type Drift struct {
	Component string `json:"component"`
	Kind      string `json:"kind"`
	Promised  string `json:"promised,omitempty"`
	Found     string `json:"found,omitempty"`
	Profile   string `json:"profile"`
}
