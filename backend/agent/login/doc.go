// Package login knows the environment that the user's login shell gives. Commands, terminals and set-ups of an
// instance run with it, so that they find what a person finds who signs in there: conda, CUDA, modules.
//
// login.go keeps the newest environment; capture.go asks the shell for it, shell.go watches over the shell meanwhile,
// print.go is the small program that the shell runs to print it, startfiles.go knows which files shells read, so that
// a change of one is noticed.
package login
