// Package server is a running agent without its features: HTTP on a 0600 unix socket for its own user, the lock that
// keeps it the only one of its state folder, the parts that it is made of (package part), and the hand-over to a newer
// agent.
//
// agent.go is its life, parts.go runs the parts and contains their failures, host.go is what they get from it,
// handover.go is how a newer agent takes over, info.go what the agent says of itself, events.go what happened,
// answers.go how it leaves without leaving a call unanswered, listen.go the socket.
//
// What is under way here belongs to somebody else: an exec to its client, a terminal to its shim. So an agent may be
// killed or replaced at any moment, and keeps no state but what its parts write.
package server
