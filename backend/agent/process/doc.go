// Package process knows processes by more than their number, and ends whole sets of them.
//
// A PID is reused, so a process is an Identity: PID, start time and boot. None of these follows the
// wall clock, so a clock that jumps changes nothing. A Group is the set of all processes of an
// instance; it finds them by cgroup where one can be made, by descent from a subreaper, and by a mark
// in their environment, and ends them gently and then by force.
//
// Start with identity.go, then group.go. It imports no net/http: the shim uses it.
package process
