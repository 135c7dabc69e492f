package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"berth/backend/agent/process"
	"berth/backend/base/atomicfile"
	"berth/backend/base/flock"
	"berth/gpu/procs/proc"
)

// Config is config.json: what is supervised. It is written before each start.
type Config struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Data     string   `json:"data"`  // the instance's folder; delete removes it if its marker allows
	Home     string   `json:"home"`  // $HOME of what runs, which is started there
	Agent    []string `json:"agent"` // the agent's command line
	AgentLog string   `json:"agent_log"`
	Group    string   `json:"group"`         // kind of process set, process.Kind…; empty: the best that works
	Grace    float64  `json:"grace_seconds"` // between asking processes to end and forcing them
}

// What a supervisor can be asked for.
const (
	ActionStop    = "stop"    // end all processes
	ActionRestart = "restart" // the same, then run the agent again
	ActionDelete  = "delete"  // the same, then remove the instance's folder and this one
)

// Request is request.json. It stays until it has been carried out.
type Request struct {
	Action string    `json:"action"`
	At     time.Time `json:"at"`
}

// Result is result.json: how the last request ended. Left names processes that could not be ended,
// Error why something else could not be done.
type Result struct {
	Action string    `json:"action"`
	At     time.Time `json:"at"`
	Left   []string  `json:"left,omitempty"`
	Error  string    `json:"error,omitempty"`
}

// Status is supervisor.json: who supervises, and how it finds the instance's processes.
type Status struct {
	proc.Identity
	Cgroup *process.Cgroup `json:"cgroup,omitempty"`
	Group  string          `json:"group"` // for people: how processes are found
}

// Dir is the folder of one supervisor.
type Dir string

func (d Dir) path(name string) string { return filepath.Join(string(d), name) }

// Log is the supervisor's log, the instance's console.
func (d Dir) Log() string { return d.path("supervisor.log") }

// AgentState is the state folder of the instance's agent.
func (d Dir) AgentState() string { return d.path("agent") }

// Make makes the folder.
func (d Dir) Make() error { return os.MkdirAll(string(d), 0o700) }

// WriteConfig writes what is to be supervised.
func (d Dir) WriteConfig(c Config) error { return atomicfile.Write(d.path("config.json"), c) }

// Config reads what is supervised.
func (d Dir) Config() (Config, error) {
	var c Config
	err := atomicfile.Read(d.path("config.json"), &c)
	if err == nil && (c.ID == "" || len(c.Agent) == 0) {
		err = fmt.Errorf("%s names no instance", d.path("config.json"))
	}
	return c, err
}

// Ask writes a request. A supervisor that lives now, and is told by a signal, or one that is
// spawned, sees it.
func (d Dir) Ask(action string) error {
	return d.exclusively(func() error {
		return atomicfile.Write(d.path("request.json"), Request{Action: action, At: time.Now().UTC()})
	})
}

// Drop removes the request.
func (d Dir) Drop() error { return d.exclusively(d.drop) }

func (d Dir) drop() error {
	if err := os.Remove(d.path("request.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return atomicfile.SyncDir(string(d))
}

// requestLimit is how long somebody else may write or drop a request, which takes milliseconds.
const requestLimit = 10 * time.Second

// exclusively runs f while nobody else writes or drops a request.
func (d Dir) exclusively(f func() error) error {
	l, err := flock.OpenWithin(context.Background(), d.path("request.lock"), requestLimit)
	if err != nil {
		return err
	}
	defer l.Close()
	return f()
}

// settle runs f if done is still what is asked for; if something else is by now, again is true. The same asked once
// more is done, too: nothing was started meanwhile, and who asks again and again would never get it otherwise.
// Whoever asks after f finds what f did.
func (d Dir) settle(done Request, f func() error) (again bool, err error) {
	err = d.exclusively(func() error {
		if now, ok, err := d.Request(); err == nil && ok && now.Action != done.Action {
			again = true
			return nil
		}
		return f()
	})
	return again, err
}

// Request reads what is asked for; ok is false for nothing.
func (d Dir) Request() (r Request, ok bool, err error) {
	return readIf[Request](d.path("request.json"))
}

// Result reads how the last request ended.
func (d Dir) Result() (r Result, ok bool, err error) { return readIf[Result](d.path("result.json")) }

// Status reads who supervises, or did last if it was killed; ok is false where the last one ended in
// order.
func (d Dir) Status() (s Status, ok bool, err error) {
	return readIf[Status](d.path("supervisor.json"))
}

func readIf[T any](path string) (v T, ok bool, err error) {
	err = atomicfile.Read(path, &v)
	if errors.Is(err, fs.ErrNotExist) {
		return v, false, nil
	}
	return v, err == nil, err
}

// MarkVariable marks every process of an instance in its environment.
const MarkVariable = "BERTH_INSTANCE_ID"

// Set is every process of the instance, seen from outside its supervisor.
func (s Status) Set(id string) process.Set {
	return process.Set{Cgroup: s.Cgroup, Mark: MarkVariable + "=" + id, Except: s.PID}
}
