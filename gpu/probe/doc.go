// Package probe keeps a process that asks the NVIDIA driver (gpu/probe/child) and holds what it said last. The
// driver can hang, a library call can end the process that makes it: that harms the child alone. It is
// started only where there may be a driver, replaced with growing pauses when it ends or falls silent, and
// what it said before is marked as stale with the reason meanwhile.
//
// The package links neither NVML nor C: the agent imports it.
package probe
