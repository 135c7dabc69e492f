// Package flock waits for the lock of a file, which the kernel releases when the process that holds it ends.
package flock
