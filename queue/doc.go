// Package queue says what a job is, and which states it goes through. It is pure: nothing here runs a process, reads a
// clock or knows an instance.
//
// A job is a command that somebody asked for (Spec, which never changes) with what has become of it (Status): a State,
// which Step alone changes, and the newest of its runs. An array is one Job until its elements start; each of them is
// a Job of its own then, with the array's number and an index (ID).
//
//	id.go array.go dependency.go sweep.go   what users write: 12_3, 0-9%4, any:12, lr=0.1,0.01
//	spec.go check.go                        what was asked for, and what can't be
//	job.go state.go                         what has become of it
//	runner.go                               what runs jobs
//
// The packages below it:
//
//	plan     decides: what waits and runs, and what happened → what to start, signal and end, and when to look again
//	journal  keeps: SQLite, one writer, every change durable before it is acted on
//
// One loop ties them together (backend/agent/job): collect what came in, plan, commit, act. What runs jobs is a Runner.
package queue
