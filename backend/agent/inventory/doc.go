// Package inventory reads what is really installed on this host: driver, CUDA and its libraries, tools,
// Pythons and conda environments with their main packages, Jupyter kernels. It is read from files where
// that is possible, else asked from the programs themselves, each within a limit; what hangs (a dead
// network mount) is left out and said.
//
// Start with read.go; components.go names what is known, compare.go holds it against what set-up profiles
// promise.
package inventory
