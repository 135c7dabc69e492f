// Package supervise is the parent of a local instance: one tiny process above the agent that keeps
// it up, and that ends every process of the instance when asked.
//
// It has no socket. What it is asked for lies in its folder as request.json, so that whoever wants
// something, and whoever resumes it after a crash, does the same: write the request (Ask), and make
// sure that a supervisor lives to see it (Spawn, or a signal). A supervisor that starts and finds a
// request carries it out instead of running the agent.
//
// Read record.go for the folder, run.go for the process, end.go for how an instance is ended and
// deleted, remove.go for the removal of a tree that follows no symlink.
package supervise
