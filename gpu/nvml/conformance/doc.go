// Package conformance holds the sources against each other: its tests let NVIDIA's bindings, the loader
// without cgo and nvidia-smi read the same fake driver in many states, and want the same answers.
package conformance
