// Package container is what the agent and the program that speaks to a container engine (package engine, which the
// agent does not link) know of each other: what a job's container is to be, what is written in the run's folder on its
// way, and the words of the program's command line.
//
// A job with an image runs that program under its shim, in place of its command. The program makes a container whose
// name is the token of the run, copies what it prints into the job's log, and exits with its exit code. It may be
// killed at any time: the container goes on, and the next one finds it by its name. What it has done is in two files of
// the run's folder (files.go), each written durably before what comes next: so a container is made and started at most
// once, and its exit code is known before it is removed.
package container
