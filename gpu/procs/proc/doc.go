// Package proc reads the processes of this host, one or all, and names each for ever: it is the one reader of
// /proc/PID and the one notion of a process's identity, for the agent, its shims and the figures.
//
// A PID is used again, so a process is an Identity (identity.go): PID, start time and boot. None of these
// follows the wall clock, so a clock that jumps changes nothing.
package proc
