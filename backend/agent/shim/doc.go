// Package shim is the terminal on a process that outlives the agent: a PTY, the last output, a socket for clients.
//
// A shim is a tiny process in its own session, between the agent and a shell. Its lower half is package process,
// which starts the shell, waits for it, writes how it ended durably, and finds it again. What is here owns the PTY,
// keeps the last output, and the modes from before it, for who attaches later, and serves any number of clients on a
// 0600 unix socket. So a terminal outlives the client, the network, and `kill -9` of the agent. The program itself,
// cmd/berth-shim, keeps processes without a terminal just as well: jobs and servers.
//
// Read record.go for what lies in a terminal's folder, protocol.go for what is said on the socket (frames of
// package wire), run.go for the life of the process, hub.go for how output reaches clients. The agent's side is
// client.go. Released protocols are kept: shims are never replaced.
//
// The package imports no net/http: cmd/berth-shim is small because there may be hundreds.
package shim
