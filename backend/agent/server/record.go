package server

import (
	"encoding/json"
	"errors"
	"os"
	"syscall"
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

// writeRecord writes it. Where the disk has no room for another file, the one that an earlier agent left is written
// over in its place: it is nobody's any more.
func writeRecord(o part.Options, r Record) error {
	err := atomicfile.Write(o.RecordPath(), r)
	if !diskTakesNothing(err) {
		return err
	}
	b, merr := json.Marshal(r)
	f, oerr := os.OpenFile(o.RecordPath(), os.O_WRONLY, 0)
	if merr != nil || oerr != nil {
		return err
	}
	defer f.Close()
	if _, werr := f.WriteAt(b, 0); werr != nil {
		return err
	}
	return f.Truncate(int64(len(b)))
}

// diskTakesNothing reports whether err says that there is no room, or that nothing may be written.
func diskTakesNothing(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}

// ReadRecord reads the record of the agent of some options' state folder.
func ReadRecord(o part.Options) (Record, error) {
	var r Record
	err := atomicfile.Read(o.RecordPath(), &r)
	return r, err
}
