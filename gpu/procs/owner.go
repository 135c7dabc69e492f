package procs

import (
	"strings"

	"berth/gpu"
)

// Candidate is a process that somebody may own.
type Candidate struct {
	PID int
	// Ancestors are its parent, the parent's parent, and so on up to PID 1.
	Ancestors []int
	// Cgroup is the content of its /proc/PID/cgroup; "" where it can't be read.
	Cgroup string
	// Environ are those variables that begin with BERTH_, as "NAME=VALUE"; none where they can't be read.
	Environ []string
}

// Attributor says whose a process is; ok is false for a stranger. It is asked for each process that is shown, a few
// times and again each half minute until it says yes, from one goroutine: it must not block.
type Attributor interface {
	Owner(c Candidate) (o gpu.Owner, ok bool)
}

// Trees finds owners by descent: all processes below a root are its owner's. The function gives the roots by PID.
type Trees func() map[int]gpu.Owner

// Owner returns the owner of the nearest root.
func (t Trees) Owner(c Candidate) (gpu.Owner, bool) {
	roots := t()
	if o, ok := roots[c.PID]; ok {
		return o, true
	}
	for _, p := range c.Ancestors {
		if o, ok := roots[p]; ok {
			return o, true
		}
	}
	return gpu.Owner{}, false
}

// Marks finds owners by a variable of the environment, which also a process has that left its tree.
type Marks func(name, value string) (gpu.Owner, bool)

// Owner returns the owner of the first variable that marks one.
func (m Marks) Owner(c Candidate) (gpu.Owner, bool) {
	for _, v := range c.Environ {
		if name, value, ok := strings.Cut(v, "="); ok {
			if o, ok := m(name, value); ok {
				return o, true
			}
		}
	}
	return gpu.Owner{}, false
}

// First asks one after the other.
type First []Attributor

// Owner returns the first owner that one of them knows.
func (f First) Owner(c Candidate) (gpu.Owner, bool) {
	for _, a := range f {
		if o, ok := a.Owner(c); ok {
			return o, true
		}
	}
	return gpu.Owner{}, false
}

// Totals are sums over the processes of a list, each PID counted once.
type Totals struct {
	Processes int
	CPU       float64 // percent of one core
	Memory    int64   // resident bytes; what processes share is in it several times
	GPUMemory int64   // bytes, over all GPUs
}

// Sum adds up a list. keep chooses (an owner, a user); nil: all.
func Sum(list []gpu.Process, keep func(gpu.Process) bool) Totals {
	var t Totals
	seen := map[int]bool{}
	for _, p := range list {
		if keep != nil && !keep(p) {
			continue
		}
		if p.GPUMemory != nil {
			t.GPUMemory += *p.GPUMemory
		}
		if seen[p.PID] {
			continue
		}
		seen[p.PID] = true
		t.Processes++
		if p.CPU != nil {
			t.CPU += *p.CPU
		}
		if p.Memory != nil {
			t.Memory += *p.Memory
		}
	}
	return t
}
