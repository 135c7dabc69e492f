// Package run runs jobs: it is the queue's Runner, on the lower half of the shim (package process).
//
// Each run has a folder, made before anything else, in which its record, its log and the line that says how it ended
// lie. Its shim takes the folder by a lock and writes its record durably before it starts the program, so that a run
// is begun at most once, whenever the agent, the shim or the machine ends: where there is no record it never began and
// is begun; with a record it is never begun again, but adopted (its shim lives), finished (there is its line),
// unsupervised (its shim is gone, and processes of it are left) or lost. A shim that is done with a run, of which
// nothing is left, may get the next one from the agent that started it; in the folders nothing is changed by that.
//
// Start with runner.go, then life.go (what becomes of a run), begin.go (how it is begun), environment.go and
// activate.go (what it runs with), signal.go. Its log is package joblog's.
package run
