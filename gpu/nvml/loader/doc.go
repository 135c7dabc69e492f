// Package loader reaches NVML without cgo. The dynamic loader of the C library is still needed to load
// NVML, so a program that links this package is a dynamic one (it runs with any glibc): it is left out
// where cgo is off, unless the build tag "nvml" asks for it. The static agent has it left out and runs a
// small program of its own that has it.
package loader
