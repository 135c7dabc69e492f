// Package queue is the screen of jobs, of one instance or of the fleet: what runs, what waits and why, and how the
// others ended. An array is one row with a bar until it is unfolded.
//
//	queue.go    the screen
//	source.go   the jobs of one instance: read once, then kept by what changes
//	sight.go    how far the jobs in sight are
//	rows.go     jobs as rows, in order
//	draw.go     the picture
//
// It asks only while it is open. A queue in which nothing changes answers nothing.
package queue
