// Package terminal is the part of the agent that keeps terminals. Each is a shim (package shim), a process that holds
// the terminal's bytes and outlives the agent; this package opens them, finds those of earlier agents again, passes a
// client's frames to the shim and back, and says how each has ended.
package terminal
