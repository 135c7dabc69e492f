// Package job is the screen of one job: where it stands, and its log as it grows. At the log's end the screen follows
// it; scrolled up it stays. What a carriage return begins again is one line.
//
//	job.go      the screen
//	follow.go   the log as it comes, at a pace that a screen can take
//	watch.go    how far jobs are, while they are in sight; the queue's screen has it, too
//	tail.go     its last lines
//	draw.go     the picture
//	details.go  all that is known of the job
//	verbs.go    what jobs can be told, also from the queue's screen
package job
