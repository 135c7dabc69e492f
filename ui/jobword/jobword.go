package jobword

import (
	"fmt"
	"strings"

	"berth/backend/api"
	"berth/queue"
)

// State is a job's state for people.
func State(s api.JobState) string { return strings.ReplaceAll(string(s), "_", " ") }

// ID is a job's id or, while it has none, as much of its UUID as names it.
func ID(j *api.Job) string {
	if j.ID != nil {
		return *j.ID
	}
	for n := range j.UUID {
		if queue.BeginsUUID(j.UUID[:n]) {
			return j.UUID[:n]
		}
	}
	return j.UUID
}

// Outcome says how a job ended.
func Outcome(j *api.Job) string {
	s := State(j.State)
	switch {
	case j.Message != "":
		s += ": " + j.Message
	case j.Signal != "":
		s += ": signal " + j.Signal
	case j.ExitCode != nil && *j.ExitCode != 0:
		s += fmt.Sprintf(": exit code %d", *j.ExitCode)
	}
	if j.By != "" {
		s += " (" + j.By + ")"
	}
	return s
}
