// Package host measures what a machine does apart from its GPUs: processors, memory, swap, pressure,
// network interfaces, block devices and file systems.
//
// host.go is the entry; linux.go reads /proc (parse.go understands it), cgroup_linux.go the limits of a container
// that Berth's agent may run in, disks.go the file systems of mounts.go, growth.go how fast they fill. On
// other systems gopsutil gives what it can. Rates are differences by the monotonic clock: a clock that is
// set changes none. /proc is read by package procfile, which says why.
//
// File systems are asked in goroutines of their own, one question at a time each, because a share whose
// server is away, a FUSE program that hangs or a dying disk answers never, and can't be interrupted. Such a
// goroutine ends when the kernel gives up; there are at most maxAsking of them.
package host
