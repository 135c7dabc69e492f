// Package joblog is the log of a job's run: one file that its processes write by themselves, standard output and
// standard error together, through a descriptor that appends. Nobody stands between, so a dead shim or agent costs no
// byte and ends no job.
//
// A log with a limit keeps its first MiB and its last bytes: the shim punches a hole in between (Limit, limit.go), so
// that no offset changes under who follows. What was cut is written beside the log, durably, before it is cut
// (cut.go): who reads (read.go) looks there after each read, and so never takes a hole for output.
//
// It imports little: the shim uses it.
package joblog
