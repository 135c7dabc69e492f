// Package inventory reads what is really installed on this host: driver, CUDA and its libraries, tools,
// Pythons and conda environments with their main packages, Jupyter kernels. It is read from files where
// that is possible, else asked from the programs themselves, each within a limit; what hangs (a dead
// network mount) is left out and said.
//
// Start with read.go; tools.go are the programs that are asked for their version. The names of what is looked for, and
// what set-up profiles promise, are in machine/software.
package inventory
