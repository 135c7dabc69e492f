package shim

import (
	"fmt"
	"path/filepath"

	"berth/backend/agent/process"
	"berth/backend/base/atomicfile"
)

// Spec is what the shim of a terminal is told on its standard input.
type Spec struct {
	process.Spec
	Socket string `json:"socket"` // where to listen; "": the process gets no terminal
	Rows   uint16 `json:"rows"`
	Cols   uint16 `json:"cols"`
	// LogLimit is how much of a job's log is kept, in bytes; 0: all.
	LogLimit int64 `json:"log_limit,omitempty"`
}

// RecordName is the name of a terminal's record in its folder.
const RecordName = "terminal.json"

// Record is terminal.json: what an agent needs to find the terminal again, and to reach it.
type Record struct {
	process.Record
	Socket string `json:"socket"`
	TTY    string `json:"tty"`
}

// Result is how the terminal's process ended.
type Result = process.Exit

// RecordPath is the record of the terminal in dir.
func RecordPath(dir string) string { return filepath.Join(dir, RecordName) }

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
func ReadResult(dir string) (res Result, ok bool, err error) { return process.ReadExit(dir) }
