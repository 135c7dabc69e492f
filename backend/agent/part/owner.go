package part

import (
	"os"
	"slices"

	"berth/gpu"
	"berth/gpu/procs"
)

// OwnerOf says whose a process is: of a part of the agent (below a terminal, say), or of a command that runs for a
// client. ok is false for a stranger.
func (h *Host) OwnerOf(c procs.Candidate) (o gpu.Owner, ok bool) {
	self := os.Getpid()
	if c.PID == self {
		return gpu.Owner{Kind: "agent"}, true
	}
	known := map[int]gpu.Owner{}
	for _, p := range h.Processes() {
		owner := gpu.Owner{Kind: p.Kind, ID: p.ID}
		for _, pid := range p.PIDs {
			known[pid] = owner
		}
		if p.Mark != "" && slices.Contains(c.Environ, p.Mark) {
			return owner, true // also what left the tree of its processes
		}
	}
	if o, ok := procs.Trees(func() map[int]gpu.Owner { return known }).Owner(c); ok {
		return o, true
	}
	if slices.Contains(c.Ancestors, self) {
		return gpu.Owner{Kind: "exec"}, true
	}
	return gpu.Owner{}, false
}
