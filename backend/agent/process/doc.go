// Package process runs what outlives the agent, and ends whole sets of processes.
//
// A process that outlives the agent has a parent of its own, a shim, and a folder: in it a record of who runs
// (outlive.go) and, in the end, one checksummed line that says how it ended (exitline.go), for which room is taken
// before it starts. Start (start.go) begins one, with the descriptors that it is given; the shim's side is Keep
// for what adds something to it, as terminals do, and Run for what needs nothing more: it also waits for all that its
// process leaves behind. Shims (line_linux.go) are those of an agent that starts many: one whose process is gone is
// given the next one, on the line that it has to its agent (toagent_linux.go). Find (adopt.go) is for an
// agent that comes later: it says which run, which ended and how, and which are lost, and never guesses.
//
// A Set (set.go) is all processes of a terminal, a job or an instance. It finds them by cgroup where one can be
// made, by descent from a subreaper, by session, and by a mark in their environment, and ends them gently and then
// by force. What tells one process from the next with its number is in berth/gpu/procs/proc.
//
// A Limit (limit.go, limit_linux.go) is how much memory and how many processors a process may use, with all that comes
// of it: by control groups of its own, of version 2, or of version 1 where the system has the controllers there. The
// shim makes them, reads in the end whether anything was killed for want of memory, and removes them; a later agent
// finds them in the record.
//
// It imports no net/http: the shim uses it.
package process
