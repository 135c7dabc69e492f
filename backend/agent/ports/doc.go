// Package ports is the part of the agent that knows what its host listens on, and connects to it: one stream for each
// connection of a forward. What is read of the host is gpu/procs/listeners', how bytes pass is transport/forward's.
package ports
