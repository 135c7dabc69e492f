// Package job is the part of the agent that keeps a queue of jobs and runs them.
//
// One loop does it (loop.go): it collects what came in (submits, other requests, what runs have become), has package
// berth/queue/plan decide, writes all that changes in one transaction (berth/queue/journal), and only then answers,
// begins runs and signals them. So an acknowledged submit is on the disk, and what is begun was written down before.
//
//	part.go   the part: when it starts and ends
//	loop.go   the loop, and what is done where the journal can't be written
//	ask.go    what clients may ask, as inputs of the plan
//	spec.go   a request as the plan wants it
//	show.go   jobs as clients see them
//	log.go    logs
//	drain.go  before a stop
//	progress.go  how far what runs is, for who looks
//	limits.go    what was set of the queue; counts.go how much is in it
//	ledger.go    who uses the GPUs
//	watch.go  what has changed, for who watches the queue
//	tell.go   telling others of ends, by package notify
//	code.go   which code jobs' folders have, by package code
//	secrets.go  jobs' secrets, until they have ended
//
// Below it, run starts, adopts and signals runs on the shim. Their logs are package joblog's, which the shim uses, too.
package job
