// Package agent is what runs on an instance: HTTP on a 0600 unix socket for exec, terminals and
// facts about the host, and nothing on the network.
//
// The way through: main.go has the subcommands (`berth agent run`, `start`, `dial`, …; the small main
// cmd/berth-agent has the same), options.go what one agent is told, agent.go its life, routes.go its
// API (documents in package api), exec.go and terminals.go the two kinds of byte streams, login.go the
// environment that commands run with, capture.go how the user's shell is asked for it, start.go how one
// agent is kept per state folder and replaced by a newer one, boot.go how it comes back after a reboot,
// dial.go how everything is carried over one exec of an SSH connection.
//
// Packages below: shim holds a terminal and outlives the agent; supervise keeps the agent of a local
// instance up and ends all of its processes; process knows processes and sets of them; flowcontrol
// queues what clients send for standard input; inventory reads what is installed.
//
// What is under way here belongs to somebody else: an exec to its client, a terminal to its shim. So
// the agent may be killed or replaced at any moment, and keeps no state but what the shims write.
package agent
