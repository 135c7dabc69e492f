// Package operation runs durable operations: what takes longer than a call, and must not be lost by a crash.
//
// An operation is a document (store.Operation) and a Plan: steps, each with a name, a time limit and a function that
// can be repeated. An Engine runs the steps in goroutines that it owns. Each progress is stored before the next thing
// is done, so that the next daemon goes on where this one ended.
//
//	engine.go   which operations are under way; beginning and ending them
//	plan.go     plans, steps, and which kinds of operations end others
//	run.go      one operation under way
//	execute.go  carrying out the steps, and the end
//	resume.go   going on with what an earlier daemon left, which may have been another build
//	match.go    by which names stored steps are found again in this build's plan
//	park.go     waiting for a call with what a resumed operation lacks
//	guard.go    a panic ends the operation that it is in, never the daemon
//
// The package does not know what operations are about. Who asks for them gives the plans and keeps the documents beside
// those of what the operations change (Host): the workspace does.
//
// Fault points: where Options.Fault is set it is called at named points of each operation (FaultPoints lists them);
// tests kill the process there.
package operation
