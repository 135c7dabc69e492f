// Package agent is the program that runs on an instance: an HTTP service on a 0600 unix socket, and nothing on the
// network. Its features are parts; parts.go lists them, and each has a package of its own below this one:
//
//	exec       commands of clients
//	job        the queue of jobs, each under a shim
//	terminal   terminals, each under a shim
//	setup      set-ups and the start script
//	inventory  what is installed
//	figures    what the host shows, and its history
//	system     clock and host keys
//	boot       how the agent comes back after a reboot
//
// A new feature is a package and a line in that list.
//
// Package part says what a part is and what it gets; server runs the parts. Shared below them: login (the environment
// of the user's login shell), root (what needs root), process (what outlives the agent, and sets of processes), shim
// (what holds a terminal on such a process), joblog (the log of a job), lease (GPUs that several users of a host
// share), ranks (jobs of several processes), embedded (programs that a release carries).
// inside is what `berth` is in a terminal of an instance. supervise keeps the agent of a local instance up and ends
// all of its processes.
//
// Here are the subcommands (main.go: `berth agent run`, `start`, `dial` and so on; the small main cmd/berth-agent has
// the same), how one agent is kept per state folder and replaced by a newer one (start.go), how all streams go over one
// exec of an SSH connection (dial.go), and how an agent is removed (uninstall.go).
package agent
