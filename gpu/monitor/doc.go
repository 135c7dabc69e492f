// Package monitor measures a host: GPUs (gpu/probe), processors, memory and disks (gpu/host), processes
// (gpu/procs), what wants attention, and the history (gpu/history), in one loop.
//
// While somebody watches it samples at the fastest pace that is asked for, at most once a second; otherwise each
// 10 s. SampledAt is of the wall clock, rates are by the monotonic one. Samples are shared between all who
// watch: nobody may change one. monitor.go is the loop, summary.go makes a sample small, idle.go knows since when
// the GPUs do nothing.
package monitor
