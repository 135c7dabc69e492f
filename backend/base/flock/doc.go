// Package flock waits for the lock of a file, which the kernel lets go of with the process that holds it.
package flock
