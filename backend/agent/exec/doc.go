// Package exec is the part of the agent that runs commands for clients: one command a stream, which ends with it.
// command.go starts it, exec.go passes its bytes, linger.go waits for the output of what it leaves in the background,
// as ssh does.
package exec
