// Package shim holds one terminal: a tiny process in its own session, between the agent and a shell.
//
// It owns the PTY, waits for the shell, writes how it ended durably, keeps the last output for who
// attaches later, and serves any number of clients on a 0600 unix socket of its own. So a terminal
// outlives the client, the network, and `kill -9` of the agent, which finds it again by its record.
//
// Read record.go for what lies in a terminal's folder, protocol.go for what is said on the socket
// (frames of package wire), run.go for the life of the process, hub.go for how output reaches
// clients. The agent's side is client.go. Released protocols are kept: shims are never replaced.
//
// The package imports no net/http: cmd/berth-shim is small because there may be hundreds.
package shim
