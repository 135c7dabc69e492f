package api

import "golang.org/x/sys/unix"

// WaitCode is the exit code of who waited for a job that is done: its own (128+N where signal N ended it), 130 where it
// was cancelled, 124 where its time was over, 125 where it was lost.
func (j *Job) WaitCode() int {
	switch j.State {
	case JobSucceeded:
		return 0
	case JobCancelled:
		return 130
	case JobTimedOut:
		return 124
	case JobLost:
		return 125
	}
	if j.Signal != "" {
		return 128 + int(unix.SignalNum("SIG"+j.Signal))
	}
	if j.ExitCode != nil && *j.ExitCode > 0 {
		return *j.ExitCode
	}
	return 1
}
