package shim

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"berth/backend/agent/process"
	"berth/backend/base/atomicfile"
	"berth/backend/transport/wire"
)

// Protocol numbers what shims speak; an agent serves every number that was ever released.
const Protocol = 1

// Spec is what a shim is told on its standard input. It is never written to disk: the environment
// may hold secrets.
type Spec struct {
	ID     string   `json:"id"`
	Dir    string   `json:"dir"`    // the terminal's folder, for its record
	Socket string   `json:"socket"` // where to listen
	Argv0  string   `json:"argv0"`  // argv[0], "-bash" for a login shell
	Path   string   `json:"path"`   // the program
	Args   []string `json:"args"`   // argv[1:]
	Mark   string   `json:"mark"`   // KEY=VALUE of Env that tells the terminal's processes from all others
	Cwd    string   `json:"cwd"`
	Env    []string `json:"env"`
	Rows   uint16   `json:"rows"`
	Cols   uint16   `json:"cols"`
}

// Record is terminal.json: what an agent needs to find the terminal again.
type Record struct {
	Protocol  int              `json:"protocol"`
	ID        string           `json:"id"`
	Shim      process.Identity `json:"shim"`
	Child     process.Identity `json:"child"`
	Command   string           `json:"command"`
	Mark      string           `json:"mark"`
	Socket    string           `json:"socket"`
	TTY       string           `json:"tty"`
	StartedAt time.Time        `json:"started_at"`
}

// Result is exit.json: how the terminal's process ended.
type Result struct {
	wire.ExitStatus
	EndedAt time.Time `json:"ended_at"`
}

// Set is every process of the terminal, but for the shim itself.
func (r Record) Set() process.Set {
	return process.Set{Session: r.Child.PID, Mark: r.Mark, Except: r.Shim.PID}
}

// RecordPath and ResultPath are the files of a terminal's folder.
func RecordPath(dir string) string { return filepath.Join(dir, "terminal.json") }

// ResultPath is where the result of the terminal in dir stands once it has ended.
func ResultPath(dir string) string { return filepath.Join(dir, "exit.json") }

// ReadRecord reads the record in a terminal's folder.
func ReadRecord(dir string) (Record, error) {
	var r Record
	if err := atomicfile.Read(RecordPath(dir), &r); err != nil {
		return r, err
	}
	if r.ID == "" || r.Shim.PID <= 0 || r.Socket == "" {
		return r, fmt.Errorf("%s is not the record of a terminal", RecordPath(dir))
	}
	return r, nil
}

// ReadResult reads how the terminal in dir ended; ok is false while it has not.
func ReadResult(dir string) (res Result, ok bool, err error) {
	err = atomicfile.Read(ResultPath(dir), &res)
	if errors.Is(err, fs.ErrNotExist) {
		return res, false, nil
	}
	return res, err == nil, err
}
