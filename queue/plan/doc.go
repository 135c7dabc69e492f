// Package plan decides which jobs run, and when their runs are told something. It is pure: the clock is passed in, and
// what it decides is handed on as changes to write down and actions to carry out after that.
//
//	plan.go        Planner, Do: inputs → changes, actions, answers and the next time to look
//	input.go       what can come in; verb.go, retry.go: what users ask of jobs that are there
//	load.go        the jobs of a journal
//	item.go        a job in memory: small while it only waits
//	line.go        what may start, in order: groups, shapes of each, jobs of each
//	gpus.go        which GPUs a job gets, and who has the others
//	share.go       which GPUs are left to other users of the host
//	start.go       starting; reserve.go what may go before the first that doesn't fit
//	run.go         what becomes of runs; due.go time-outs, notices and kills
//	array.go       elements
//	dependency.go  jobs that wait for others
//	reason.go      why a job waits, and until when; computed for the rows that are shown
//
// Order: a higher priority goes first, then the lower Order (the number, unless it was moved). What waits for a time, a
// dependency, a release or the limit of its array or group stands aside and delays nobody. The first that may start but
// does not fit holds a place: others go before it only if that can't delay it (reserve.go).
//
// A Planner is used by one goroutine. It goes ahead of the journal: when an outcome can't be written down, it is thrown
// away with its planner, and a new one loads the journal and gets the events again. Events that are told twice change
// nothing, and all runs are started or adopted again, which a Runner takes as said once.
package plan
