package run

import (
	"time"

	"berth/backend/agent/container"
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
	if r, ok, err := container.ReadResult(dir); ok && err == nil {
		p.StartedAt, p.EndedAt, p.Signal = f.Record.StartedAt, r.EndedAt, r.Signal
		if r.Signal == "" && r.Failed == "" && r.Lost == "" {
			p.Exit = r.Exit
		}
		return p
	}
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
