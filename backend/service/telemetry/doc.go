// Package telemetry has the live figures of all instances while somebody looks at them.
//
// A Hub follows the summary of each running instance's agent, each on its own, so that one that hangs slows down no
// other (follow.go); adds what only the workspace can find (a GPU that is idle while it is billed, an agent that is
// silent: find.go) and when GPUs were idle today (idle.go); and hands what is new to each watcher, of several lines of
// one instance only the newest (hub.go). Nobody watches: nothing is followed, and the last figures are kept.
package telemetry
