package server

import (
	"time"

	"berth/backend/agent/part"
	"berth/backend/base/atomicfile"
	"berth/gpu/procs/proc"
)

// Record is agent.json: who runs.
type Record struct {
	proc.Identity
	Socket  string    `json:"socket"`
	Version string    `json:"version"`
	Built   time.Time `json:"built"`
	Exe     string    `json:"exe"`
}

// ReadRecord reads the record of the agent of some options' state folder.
func ReadRecord(o part.Options) (Record, error) {
	var r Record
	err := atomicfile.Read(o.RecordPath(), &r)
	return r, err
}
