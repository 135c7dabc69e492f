// Package terminal is the part of the agent that keeps terminals. Each is a shim (package shim), a process that holds
// the terminal's bytes and outlives the agent. open.go opens and attaches, terminals.go finds those of earlier agents
// again and says how each has ended, relay.go passes a client's frames to the shim and back, list.go lists them and
// ends them.
package terminal
