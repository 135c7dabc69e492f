package run

import (
	"time"

	"berth/backend/agent/process"
)

// Past is what the folder of a run that is over says of it.
type Past struct {
	StartedAt, EndedAt time.Time // zero: it is not known
	Exit               int       // below 0: it has no code, or that is not known
	Signal             string
}

// PastOf reads the folder of a run that is over.
func PastOf(dir string) Past {
	p := Past{Exit: -1}
	f := process.Look(dir, process.RecordName)
	if f.Err == nil {
		p.StartedAt = f.Record.StartedAt
	}
	if f.Fate != process.Ended {
		return p
	}
	p.EndedAt = f.Exit.EndedAt
	if p.Signal = f.Exit.Signal; p.Signal == "" && f.Exit.Errno == 0 {
		p.Exit = f.Exit.Code
	}
	return p
}
