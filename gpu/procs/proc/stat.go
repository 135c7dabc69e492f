package proc

import "time"

// Stat is what changes of a process. Elsewhere than on Linux CPU, Memory and Threads are zero.
type Stat struct {
	PID, PPID, Group, Session int

	Comm    []byte // its name; valid until the Reader's next, and nil in what All and ReadStat return
	State   byte   // the kernel's letter
	TTY     bool   // it has a controlling terminal
	Kernel  bool   // it is a thread of the kernel
	Threads int
	Start   uint64        // as in Identity; Age tells how long ago
	CPU     time.Duration // that it used since it started
	Memory  int64         // resident, bytes
}

// Zombie reports whether the process has ended and waits for its parent. One whose first thread alone has ended
// looks the same, but for the number of its threads.
func (s Stat) Zombie() bool {
	return (s.State == 'Z' || s.State == 'X' || s.State == 'x') && s.Threads <= 1
}

// Owner is who a process runs as. Group is the process that a thread belongs to: the process itself for all others.
type Owner struct{ Group, Real, Effective int }

// All lists every process that can be seen. Those that end meanwhile are left out.
func All() ([]Stat, error) {
	var out []Stat
	err := NewReader("").All(func(s Stat) {
		s.Comm = nil
		out = append(out, s)
	})
	return out, err
}

// Named reports whether a process of one of these names runs.
func Named(names ...string) bool {
	found := false
	err := NewReader("").All(func(s Stat) {
		for _, n := range names {
			found = found || string(s.Comm) == n && !s.Zombie()
		}
	})
	return err == nil && found
}
