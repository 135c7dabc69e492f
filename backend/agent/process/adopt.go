package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"berth/gpu/procs/proc"
)

// Fate is what became of a process that was to outlive the agent.
type Fate string

// What Find says.
const (
	Running   Fate = "running"   // its shim lives and will write how it ends
	Ended     Fate = "ended"     // Exit says how
	Orphaned  Fate = "orphaned"  // its shim is gone, and processes of it live: how it ends won't be known
	Lost      Fate = "lost"      // none of its processes is left, and how it ended isn't known
	Unstarted Fate = "unstarted" // its folder was made, and nothing was started
	Unclear   Fate = "unclear"   // it can't be told; Err says why
)

// Found is a process as its folder and the system show it.
type Found struct {
	Dir    string
	Record Record
	Fate   Fate
	Exit   Exit            // of one that has ended
	Left   []proc.Identity // its processes, where it is orphaned
	Err    error           // why it is unclear, or why what was written of a lost one isn't believed
}

// Find finds all processes whose folders lie in dir, by records of that name. Nothing is guessed, changed or
// removed.
func Find(dir, name string) ([]Found, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []Found
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, Look(filepath.Join(dir, e.Name()), name))
		}
	}
	return out, nil
}

// Look finds the process of one folder.
func Look(dir, name string) Found {
	f := Found{Dir: dir}
	f.look(name)
	return f
}

func (f *Found) look(name string) {
	var err error
	if f.Record, err = ReadRecord(f.Dir, name); err != nil {
		f.Fate, f.Err = Unclear, err
		if errors.Is(err, fs.ErrNotExist) {
			f.Fate, f.Err = Unstarted, nil
		}
		return
	}
	if f.ended() {
		return
	}
	switch f.Record.Shim.Look() {
	case proc.Same:
		f.Fate = Running
		return
	case proc.Unknown:
		f.Fate, f.Err = Unclear, proc.ErrUnknown
		return
	}
	if f.ended() { // it may have written its line, and gone, since the first look
		return
	}
	if f.Record.Shim.OfOtherBoot() {
		f.Fate = Lost // no process outlives its boot
		return
	}
	if f.Left, err = f.Record.Set().Members(); err != nil {
		f.Fate, f.Err = Unclear, err
		return
	}
	f.Fate = Lost
	if len(f.Left) > 0 {
		f.Fate = Orphaned
	}
}

// ended looks for the exit. A torn line is kept as the error: the process may still run, or be lost.
func (f *Found) ended() bool {
	x, ok, err := ReadExit(f.Dir)
	f.Err = err
	if ok {
		f.Fate, f.Exit, f.Err = Ended, x, nil
	}
	return ok
}

// Remove removes what an ended or lost process has left: its control group and its folder.
func (f Found) Remove() error {
	if f.Fate != Ended && f.Fate != Lost && f.Fate != Unstarted {
		return fmt.Errorf("process %s is not done: %s", f.Record.ID, f.Fate)
	}
	return errors.Join(f.Record.Cgroup.Remove(), f.Record.Limit.Remove(), os.RemoveAll(f.Dir))
}
