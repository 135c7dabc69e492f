package container

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
)

// Protocol numbers what the agent says to the program, and what the two write. Both must have the same one.
const Protocol = 1

// The words that the program's command line begins with.
const (
	WordRun     = "run"     // run SPEC CMD…: the container of a run, to its end
	WordCheck   = "check"   // check SPEC: print an Answer
	WordRemove  = "remove"  // remove SPEC: end a container and remove it
	WordVersion = "version" // print Protocol
)

// Spec is what a container is to be. It stands on a command line: it has no secrets. Its JSON is of a Protocol.
type Spec struct {
	Name  string            `json:"name"`  // the token of the run
	Image string            `json:"image"` // as it was asked for
	Dir   string            `json:"dir"`   // the run's folder
	Host  string            `json:"host,omitempty"`
	Label map[string]string `json:"label,omitempty"`

	Workdir string   `json:"workdir,omitempty"`
	Mounts  []string `json:"mounts,omitempty"` // folders that it sees under their own paths
	Home    string   `json:"home,omitempty"`   // $HOME of a user other than root

	Memory int64 `json:"memory,omitempty"` // bytes; 0: no limit
	CPUs   int   `json:"cpus,omitempty"`   // 0: no limit
	Shm    int64 `json:"shm,omitempty"`    // bytes of /dev/shm

	Network string `json:"network,omitempty"` // "host": it listens on ports of the instance; "": the engine's usual one

	GPUs    []string `json:"gpus,omitempty"`    // their UUIDs
	NoGPUs  bool     `json:"no_gpus,omitempty"` // there are some, and it is to see none
	Systems []string `json:"systems,omitempty"` // folders of CDI specifications; none: the usual ones
	Retries int      `json:"retries,omitempty"` // of a pull that is cut; 0: the usual ones
}

// Labels of a container. LabelRun is what it is found by.
const (
	LabelJob  = "berth-job"
	LabelRun  = "berth-run"
	LabelUUID = "berth-uuid"
	LabelHome = "berth-home"
)

// Args are the arguments of the program that runs a command in a container.
func (s Spec) Args(word string, command []string) ([]string, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return append([]string{word, string(b)}, command...), nil
}

// ParseSpec reads a Spec from an argument.
func ParseSpec(arg string) (Spec, error) {
	var s Spec
	if err := json.Unmarshal([]byte(arg), &s); err != nil {
		return s, fmt.Errorf("what the container is to be can't be read: %w", err)
	}
	return s, nil
}

// given is how the variables of the container are called in the environment of the program. They are apart from its
// own: a job's DOCKER_HOST or PATH is for the container.
const given = "BERTH_GIVEN_"

// Give is the environment of the program: its own, and what the container gets.
func Give(own, env []string) []string {
	out := append([]string{}, own...)
	for _, kv := range env {
		out = append(out, given+kv)
	}
	return out
}

// Given is what the container gets, from the environment of the program.
func Given(environ []string) (env []string) {
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, given); ok {
			env = append(env, v)
		}
	}
	return env
}

// What a run is told reaches the program as a signal: KILL and STOP can't be caught, and have others in their place.
const (
	Kill  = syscall.Signal(40)
	Pause = syscall.SIGTSTP
	Go    = syscall.SIGCONT
)

// Answer is what a check says.
type Answer struct {
	Host   string `json:"host,omitempty"`   // where the engine listens
	Engine string `json:"engine,omitempty"` // what it is: "Podman Engine 4.3.1"
	// Problem says why no container can be run; "": one can. Usage says that what was asked for is wrong.
	Problem string `json:"problem,omitempty"`
	Hint    string `json:"hint,omitempty"`
	Usage   bool   `json:"usage,omitempty"`
}
