// Package gonvml reaches NVML through NVIDIA's own bindings, which need cgo. Their symbols are bound when they
// are first called, and one that the installed driver lacks ends the whole process: each function is looked
// up once before, and one that is missing is never called.
//
// The bindings keep one library for the whole process, so there is one source of this kind in a process.
package gonvml
