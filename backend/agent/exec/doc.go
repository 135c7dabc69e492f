// Package exec is the part of the agent that runs commands for clients: one command a stream, which ends with it.
// exec.go starts it and passes its bytes, linger.go waits for the output of what it leaves in the background, as ssh
// does.
package exec
